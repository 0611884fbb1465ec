"""DeepSeek-OCR on vLLM: pages of all jobs in one engine, batched continuously. Its parts are in ``deepseek``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import EngineNotReady
from shared.settings import Settings
from worker.engines.deepseek import start

if TYPE_CHECKING:
    from worker.engines.deepseek.engine import DeepSeekEngine


async def load(settings: Settings) -> DeepSeekEngine:
    """Build the engine on the running loop and show that it works; blocks the loop while the model loads.

    Raises EngineNotReady, with one line that says what is wrong. The thread must live as long as the engine.
    """
    if find_spec("vllm") is None:
        raise EngineNotReady("ENGINE=deepseek-ocr needs vLLM, which is not installed: pip install '.[worker,vllm]'")
    from worker.engines.deepseek import files  # safetensors comes with vLLM

    files.check(Path(settings.model_path), weights=not start.dummy_weights(settings))
    start.environment(settings)
    from worker.engines.deepseek import engine  # vLLM reads its environment while it is imported

    return await engine.load(settings)
