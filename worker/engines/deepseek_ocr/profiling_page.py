"""Dummy input for vLLM's memory profiling: the largest page, built as all pages are, not by the model's processor.

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
    DeepseekOCRMultiModalProcessor,
    DeepseekOCRProcessingInfo,
)

from deepseek_ocr.modes import GUNDAM, MODES, grids
from deepseek_ocr.tokens import IMAGE
from worker.engines.deepseek_ocr.inputs import Inputs
from worker.engines.deepseek_ocr.views import ViewLayout
from worker.engines.vllm_host.model import PreparedPage


def largest() -> ViewLayout:
    """The page with the most tokens, and among those the most pixels."""
    pages = [*(ViewLayout(mode, (1, 1)) for mode in MODES.values()), *(ViewLayout(GUNDAM, grid) for grid in grids())]
    return max(pages, key=lambda page: (page.mode.tokens_of(page.grid), page.size))


class Info(DeepseekOCRProcessingInfo):  # type: ignore[misc]
    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        page = largest()
        return {"image": page.mode.tokens_of(page.grid)}


class DummyInputs(DeepseekOCRDummyInputsBuilder):  # type: ignore[misc]
    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE * mm_counts.get("image", 0)


class Processor(DeepseekOCRMultiModalProcessor):  # type: ignore[misc]
    def apply(self, *_args: Any, **_more: Any) -> dict[str, Any]:
        """The largest page, black. Nothing else is ever asked for: pages reach the engine rendered."""
        page = largest()
        prepared = PreparedPage(mmap.mmap(-1, page.size), 0, page)
        config = self.info.ctx.model_config
        return Inputs(self.info.get_tokenizer(), config.max_model_len).engine_input("", prepared)
