"""How the model wants to be served and sampled: plain data, for vLLM 0.25 and later."""

from __future__ import annotations

from typing import Any

MODEL = "deepseek-ai/DeepSeek-OCR"
ARCHITECTURE = "DeepseekOCRForCausalLM"

MAX_MODEL_LEN = 8192
"""Tokens of prompt and answer together, the model's own limit."""

SAMPLING: dict[str, Any] = {"temperature": 0.0, "skip_special_tokens": False}
"""Greedy, and markers stay in the text."""

ENGINE_ARGS: dict[str, Any] = {
    "max_model_len": MAX_MODEL_LEN,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 16384,
    "enable_prefix_caching": False,
    "mm_processor_cache_gb": 0,
    "limit_mm_per_prompt": {"image": 1},
}
"""Of ``AsyncEngineArgs``. Both budgets are set because its own defaults (128, 2048) starve the model; the caches are
off because no two pages share a prefix. ``max_num_batched_tokens`` must not be below 1024: a page may take 933."""

ENVIRONMENT = {"VLLM_USE_V2_MODEL_RUNNER": "0", "VLLM_USE_FLASHINFER_SAMPLER": "0"}
"""Before the engine starts. vLLM 0.31 to 0.33 refuse the model's logits processor on the other runner. FlashInfer's
sampler is compiled at start, with CUDA's own compiler, for top-k and top-p: neither is used."""
