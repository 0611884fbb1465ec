"""Which of vLLM's model runners is used, and the way the n-gram rule takes into it."""

from __future__ import annotations

import os
from importlib.util import find_spec

V2 = "VLLM_USE_V2_MODEL_RUNNER"
V1_PROCESSOR = "worker.engines.vllm_host.ngram_v1:NoRepeatNGramV1"
V2_PROCESSOR = "worker.engines.vllm_host.ngram_v2:NoRepeatNGram"


def choose() -> None:
    """V2 wherever it can run, unless the environment says otherwise. Called before vLLM is imported."""
    os.environ.setdefault(V2, "1" if find_spec("triton") else "0")


def takes_v2_processors() -> bool:
    """True from vLLM 0.31 on. Imports vLLM."""
    return find_spec("vllm.v1.worker.gpu.sample.logits_processor") is not None


def logits_processors() -> list[str]:
    """For ``AsyncEngineArgs``. Empty where the sampler of the model's own state has the rule (``NGramRuled``)."""
    if os.environ[V2] != "1":
        return [V1_PROCESSOR]
    return [V2_PROCESSOR] if takes_v2_processors() else []
