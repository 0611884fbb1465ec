"""A second model on ``vllm_host``, as docs/engines.md says one is added: its card and ``load``; ``model`` is the rest.

It is the tiny checkpoint of these tests again, but served as any model of vLLM's is: by vLLM's own class and
preprocessing, with one prompt, plain text and no n-gram rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.engines.vllm_host import config
from worker.engines.vllm_host.model import ModelCard
from worker.engines.vllm_host.settings import VllmSettings

if TYPE_CHECKING:
    from worker.engines.vllm_host.engine import VllmEngine

SETTINGS = VllmSettings
CARD = ModelCard(
    engine="second",
    model="somebody/second",
    engine_args={"enable_prefix_caching": False, "mm_processor_cache_gb": 0, "limit_mm_per_prompt": {"image": 1}},
)


async def load(settings: VllmSettings) -> VllmEngine:
    config.environment(settings, CARD)
    from tests.vllm.second_model.model import SecondModel
    from worker.engines.vllm_host import engine

    return await engine.load(settings, CARD, SecondModel)
