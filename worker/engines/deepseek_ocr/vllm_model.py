"""The model's class as vLLM runs it: vLLM's own, with our encoder and our profiling page. Loaded by vLLM's plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from vllm import ModelRegistry
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRForCausalLM
from vllm.multimodal import MULTIMODAL_REGISTRY

from worker.engines.deepseek_ocr import CARD, encoder
from worker.engines.deepseek_ocr.profiling_page import DummyInputs, Info, Processor
from worker.engines.deepseek_ocr.towers import Towers
from worker.engines.vllm_host.model_class import NGramRuled


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)
class OcrDeepseekForCausalLM(NGramRuled, DeepseekOCRForCausalLM):  # type: ignore[misc]
    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._pages_at_once = int(vllm_config.additional_config["encoder_pages"])
        self._towers = Towers(self)
        self._compiled = False

    def embed_multimodal(self, **kwargs: object) -> list[torch.Tensor] | None:
        """What vLLM calls for the pictures of a step, and first of all to measure the memory that takes."""
        if not self._compiled:
            self._compiled = True
            self._for_every_size(self._towers.run)
        return encoder.embed(self, self._towers, self._pages_at_once, **kwargs)

    def warm_up(self) -> None:
        """Record what a page alone needs as CUDA graphs. Called by the host before the first page."""
        if self.image_newline.is_cuda:
            self._for_every_size(self._towers.capture)

    @torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
    def _for_every_size(self, take: Callable[[torch.Tensor], object]) -> None:
        """Black views, as many as are encoded together for a page alone, of every mode and grid."""
        vector = self.image_newline
        for size, count in encoder.shapes_of_one_page():
            take(torch.zeros((count, 3, size, size), dtype=vector.dtype, device=vector.device))


def register() -> None:
    """The card's ``plugin``. May be called more than once."""
    if CARD.architecture not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(CARD.architecture, OcrDeepseekForCausalLM)
