"""Is it a folder with DeepSeek-OCR in it, and whole? vLLM would say so too, after half a minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deepseek_ocr.engine import ARCHITECTURE
from shared.errors import EngineNotReady

INDEX = "model.safetensors.index.json"


def check(folder: Path, *, weights: bool = True) -> None:
    """Raises EngineNotReady with one line that says what is missing, broken, or of another model."""
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise EngineNotReady(f"MODEL_PATH: {folder} has no {name}; get the model with: {_download(folder)}")
    found = _json(folder / "config.json").get("architectures")
    if found != [ARCHITECTURE]:
        raise EngineNotReady(f"MODEL_PATH: {folder} is of architecture {found}, not {ARCHITECTURE}")
    if weights:
        for file in _weights(folder):
            _check_whole(file)


def _weights(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        named = _json(folder / INDEX).get("weight_map", {})
        return [folder / name for name in sorted(set(named.values()))]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise EngineNotReady(f"MODEL_PATH: {folder} has no weights (*.safetensors); get them with: {_download(folder)}")
    return found


def _check_whole(file: Path) -> None:
    """A download that broke off, or a pointer of git-lfs in its place. Reads the file's header, not its tensors."""
    try:
        with safe_open(file, framework="np"):
            pass
    except FileNotFoundError:
        raise EngineNotReady(f"MODEL_PATH: {file} is missing; get it with: {_download(file.parent)}") from None
    except SafetensorError as error:
        raise EngineNotReady(
            f"MODEL_PATH: {file} is not whole ({error}); remove it and get it again with: {_download(file.parent)}"
        ) from error


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EngineNotReady(f"MODEL_PATH: {file} is not JSON: {error}") from error
    return found


def _download(folder: Path) -> str:
    return f"hf download deepseek-ai/DeepSeek-OCR --local-dir {folder}"
