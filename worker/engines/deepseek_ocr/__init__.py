"""DeepSeek-OCR on vLLM: pages of all jobs in one engine, batched continuously.

``vllm_host`` runs it; here is what this model needs. In the worker: ``request`` (what a caller asked for), ``retries``
(what is tried when a page goes wrong), ``views`` (a picture as the model's views; runs in child processes),
``inputs`` (prompt and views as vLLM's input), ``model`` (all of it, as the host wants it), ``checkpoint`` (are its
files whole?). In vLLM's own process: ``vllm_model`` (the model's class), ``encoder``, ``profiling_page``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek_ocr.engine import ENGINE_ARGS, MODEL
from deepseek_ocr.modes import MODES
from shared.errors import EngineNotReady
from worker.engines.vllm_host import config
from worker.engines.vllm_host.model import ModelCard
from worker.engines.vllm_host.settings import VllmSettings

if TYPE_CHECKING:
    from worker.engines.vllm_host.engine import VllmEngine

SETTINGS = VllmSettings
CARD = ModelCard(
    engine="deepseek-ocr",
    model=MODEL,
    modes=tuple(MODES),
    prompts=True,
    plugin="worker.engines.deepseek_ocr.vllm_model:register",
    architecture="OcrDeepseekForCausalLM",
    engine_args=ENGINE_ARGS,
    kernel_settings=Path(__file__).with_name("expert_settings"),  # made by benchmarks.gpu_moe
    fixed_bytes=11 << 30,  # weights 6.2 GiB, working memory 1.7, what vLLM does not count 2.5
    page_bytes=96 << 20,  # 60 KiB a token, 1,350 tokens on average, and some room
)


def slots(settings: VllmSettings) -> int:
    """Pages the engine will read at once."""
    return config.slots(settings, CARD)


async def load(settings: VllmSettings) -> VllmEngine:
    """See ``vllm_host.engine.load``. Raises EngineNotReady, with one line that says what is wrong."""
    if find_spec("vllm") is None:
        raise EngineNotReady("ENGINE=deepseek-ocr needs vLLM, which is not installed: pip install '.[worker,vllm]'")
    from worker.engines.deepseek_ocr import checkpoint  # safetensors comes with vLLM

    checkpoint.check(Path(settings.model_path), weights=not config.dummy_weights(settings))
    config.environment(settings, CARD)
    from worker.engines.deepseek_ocr.model import DeepSeekOCR  # vLLM reads its environment while it is imported
    from worker.engines.vllm_host import engine

    return await engine.load(settings, CARD, lambda tokenizer: DeepSeekOCR(tokenizer, settings.max_model_len))
