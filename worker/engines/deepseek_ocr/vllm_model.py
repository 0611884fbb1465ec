"""The model's class as vLLM runs it: vLLM's own, with our encoder and our profiling page. Loaded by vLLM's plugins."""

from __future__ import annotations

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

    def embed_multimodal(self, **kwargs: object) -> list[torch.Tensor] | None:
        return encoder.embed(self, self._towers, self._pages_at_once, **kwargs)

    @torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
    def warm_up(self) -> None:
        """Compile the encoder's kernels for every size of view, and record what a page alone needs as CUDA graphs.

        Called by the host before the first page, with the KV cache in place.
        """
        vector = self.image_newline
        for size, count in encoder.shapes_of_one_page():
            pixels = torch.zeros((count, 3, size, size), dtype=vector.dtype, device=vector.device)
            if vector.is_cuda:
                self._towers.capture(pixels)
            else:
                self._towers(pixels)


def register() -> None:
    """The card's ``plugin``. May be called more than once."""
    if CARD.architecture not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(CARD.architecture, OcrDeepseekForCausalLM)
