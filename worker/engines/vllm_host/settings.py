"""Settings of every model that vLLM hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from worker.engines.vllm_host.model_files import sampled_digests
from worker.settings import EngineSettings


def _decoded(value: object) -> object:
    """Decoded here and not by pydantic-settings, so that a fault is reported with the others."""
    return json.loads(value) if isinstance(value, str) else value


class VllmSettings(EngineSettings):
    """Read by the engines on vLLM."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "model_path", "cuda_device", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens",
            "preprocess_processes", "encoder_pages", "engine_stall",
        }
    )  # fmt: skip
    """The model's path is not what it is: its files are."""

    def facts_of_reading(self) -> dict[str, Any]:
        return {**super().facts_of_reading(), "files": sampled_digests(Path(self.model_path))}

    model_path: str = Field("/models/deepseek-ai/DeepSeek-OCR", description="folder of the model's files")
    cuda_device: str = Field("0", description="CUDA_VISIBLE_DEVICES of the engine")
    gpu_memory_utilization: float = Field(0.5, gt=0, le=1, description="share of the GPU's memory the engine may take")
    max_model_len: int = Field(8192, ge=1024, description="tokens of prompt and answer together")
    max_num_seqs: int | None = Field(
        None, ge=1, description="pages the engine decodes at once; default: what its memory holds, up to 512"
    )
    max_num_batched_tokens: int = Field(16384, ge=1024, description="tokens of one engine step")
    preprocess_processes: int = Field(4, ge=1, description="processes that turn pictures into the engine's input")
    encoder_pages: int = Field(8, ge=1, le=64, description="pages whose pictures the GPU encodes together")
    engine_stall: float = Field(60.0, gt=0, description="seconds without a token before the engine counts as hung")
    vllm_args: Annotated[dict[str, Any], NoDecode, BeforeValidator(_decoded)] = Field(
        {}, description="further arguments of vLLM's AsyncEngineArgs, as JSON"
    )
