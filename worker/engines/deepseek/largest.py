"""The page vLLM measures itself with: the largest there is, made as all ours are instead of by its own processor.

vLLM's front, its scheduler and its model runner each ask the model's processor for such a page as they start. The
model's own loads the tokenizer twice more and prepares a picture for that: seconds of every start, for code that no
page of ours goes through (see ``inputs``).
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.deepseek_ocr import (
    DeepseekOCRDummyInputsBuilder,
    DeepseekOCRForCausalLM,
    DeepseekOCRMultiModalProcessor,
    DeepseekOCRProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from deepseek_ocr.modes import GUNDAM, MODES, Grid, Mode, grids
from deepseek_ocr.tokens import IMAGE
from worker.engines.deepseek.inputs import Inputs
from worker.engines.deepseek.preprocess import Views
from worker.engines.deepseek.views import views_size


def largest() -> tuple[Mode, Grid]:
    """The page with the most tokens, and among those the most pixels."""
    pages = [*((mode, (1, 1)) for mode in MODES.values()), *((GUNDAM, grid) for grid in grids())]
    return max(pages, key=lambda page: (page[0].tokens_of(page[1]), views_size(*page)))


class Info(DeepseekOCRProcessingInfo):  # type: ignore[misc]
    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        mode, grid = largest()
        return {"image": mode.tokens_of(grid)}


class DummyInputs(DeepseekOCRDummyInputsBuilder):  # type: ignore[misc]
    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE * mm_counts.get("image", 0)


class Processor(DeepseekOCRMultiModalProcessor):  # type: ignore[misc]
    def apply(self, *_args: Any, **_more: Any) -> dict[str, Any]:
        """The largest page, black. Nothing else is ever asked for: pages reach the engine rendered."""
        mode, grid = largest()
        views = Views(mmap.mmap(-1, views_size(mode, grid)), 0, mode, grid)
        config = self.info.ctx.model_config
        return Inputs(self.info.get_tokenizer(), config.max_model_len).engine_input("", views)


def register() -> None:
    """Put it in the place of the model's own, in this process."""
    if "_processor_factory" in vars(DeepseekOCRForCausalLM):
        del DeepseekOCRForCausalLM._processor_factory  # or vLLM warns that it is replaced
    MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)(DeepseekOCRForCausalLM)
