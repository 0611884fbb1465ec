"""The model's class as vLLM runs it: vLLM's own, with our encoder and our profiling page. Loaded by vLLM's plugins."""

from __future__ import annotations

from typing import Any

import torch
from vllm import ModelRegistry
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRForCausalLM
from vllm.multimodal import MULTIMODAL_REGISTRY

from worker.engines.deepseek_ocr import CARD, encoder
from worker.engines.deepseek_ocr.profiling_page import DummyInputs, Info, Processor


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)
class OcrDeepseekForCausalLM(DeepseekOCRForCausalLM):  # type: ignore[misc]
    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._pages_at_once = int(vllm_config.additional_config["encoder_pages"])

    def embed_multimodal(self, **kwargs: object) -> list[torch.Tensor] | None:
        return encoder.embed(self, self._pages_at_once, **kwargs)


def register() -> None:
    """The card's ``plugin``. May be called more than once."""
    if CARD.architecture not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(CARD.architecture, OcrDeepseekForCausalLM)
