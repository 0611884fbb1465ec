"""What makes the real engine fit a CPU test: small vision towers, weights that matter, answers that are chosen.

vLLM loads it in each of its processes, as a general plugin (the folder must be on PYTHONPATH). Everything else of the
model, the scheduler, the sampler and the detokeniser is vLLM's own.
"""

from __future__ import annotations

import os
from typing import Any


def shrink_towers() -> None:
    """Both vision towers are literal in vLLM's code (400 million parameters); here they are one layer each."""
    import vllm.model_executor.models.deepseek_ocr as model
    from vllm.model_executor.models.deepencoder import _build_sam

    if hasattr(model, "full_size_clip"):
        return
    model.full_size_clip = model.CLIPVisionConfig
    model.build_sam_vit_b = lambda: _build_sam(
        encoder_embed_dim=64, encoder_depth=1, encoder_num_heads=1, encoder_global_attn_indexes=[]
    )
    model.CLIPVisionConfig = lambda **sizes: model.full_size_clip(
        **{**sizes, "num_hidden_layers": 1, "intermediate_size": 256}
    )


def register_weights() -> None:
    """load_format="dummy_scaled": random weights large enough that picture and prompt decide the answer."""
    import torch
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.dummy_loader import DummyModelLoader

    @register_model_loader("dummy_scaled")
    class Scaled(DummyModelLoader):
        def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
            generator = torch.Generator().manual_seed(0)
            for module in model.modules():
                norm = "Norm" in type(module).__name__
                for name, parameter in module.named_parameters(recurse=False):
                    if norm or name == "bias":
                        parameter.data.fill_(float(name == "weight"))
                    else:
                        fan_in = parameter.shape[-1] if parameter.ndim in (1, 3) else max(1, parameter[0].numel())
                        noise = torch.randn(parameter.shape, generator=generator)
                        parameter.data.copy_(noise / fan_in**0.5)


def fork_as_cuda_does() -> None:
    """On a CPU vLLM insists on spawning its process; forking is what CUDA does, and starts in a third of the time."""
    from vllm.platforms import current_platform

    platform = type(current_platform)
    insist = platform.check_and_update_config.__func__
    if os.environ.get("OCR_TEST_START_METHOD", "fork") != "fork" or hasattr(platform, "ocr_test_fork"):
        return

    @classmethod  # type: ignore[misc]
    def check_and_update_config(cls: Any, config: Any) -> None:
        insist(cls, config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    platform.check_and_update_config = check_and_update_config
    platform.ocr_test_fork = True


def __getattr__(name: str) -> Any:
    """``ForceIds``, made when it is asked for, so that importing this module stays light."""
    if name != "ForceIds":
        raise AttributeError(name)
    globals()[name] = _force_ids()
    return globals()[name]


def _force_ids() -> type:
    """A logits processor that makes a request say ``extra_args["force_ids"]``, through the real sampler."""
    from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

    class ForceIds(AdapterLogitsProcessor):
        def is_argmax_invariant(self) -> bool:
            return False

        def new_req_logits_processor(self, params: Any) -> Any:
            ids = (params.extra_args or {}).get("force_ids")
            return None if ids is None else lambda output, logits: _force(ids, len(output), logits)

    ForceIds.__module__, ForceIds.__qualname__ = __name__, "ForceIds"
    return ForceIds


def _force(ids: list[int], position: int, logits: Any) -> Any:
    if position < len(ids):
        logits.fill_(-float("inf"))
        logits[ids[position]] = 0.0
    return logits
