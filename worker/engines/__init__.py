"""The engines by name. Loaders are strings, so that nothing heavy is imported until it is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from shared.settings import Settings
from worker.engines.base import Engine

Loader = Callable[[Settings], Awaitable[Engine]]

REGISTRY = {
    "cpu": "worker.engines.cpu:load",
    "deepseek-ocr": "worker.engines.deepseek_ocr:load",
    "instant": "worker.engines.instant:load",
}


def loader(name: str) -> Loader:
    """The ``load`` of an engine: a name of the registry, or ``module:function``."""
    module, _, function = REGISTRY.get(name, name).partition(":")
    found: Loader = getattr(import_module(module), function)
    return found


def choose(settings: Settings) -> str:
    """``auto``: DeepSeek-OCR where a GPU, vLLM and the model's files are there, else the CPU engine."""
    if settings.engine != "auto":
        return settings.engine
    ready = (
        Path("/dev/nvidiactl").exists() and find_spec("vllm") and (Path(settings.model_path) / "config.json").exists()
    )
    return "deepseek-ocr" if ready else "cpu"


def jobs_in_flight(settings: Settings) -> int:
    """So many jobs of one page each as fill the engine, and never so few that large documents keep small ones out."""
    return settings.jobs_in_flight or (max(64, settings.max_num_seqs) if choose(settings) == "deepseek-ocr" else 64)


async def load_engine(settings: Settings) -> Engine:
    return await loader(choose(settings))(settings)
