"""AsyncLLM, built; and what it must show before a page is taken."""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.renderers import hf
from vllm.v1.engine.async_llm import AsyncLLM

from shared.errors import EngineNotReady
from shared.settings import Settings
from worker.engines.deepseek import cause, largest
from worker.engines.deepseek.start import engine_args


def build(settings: Settings, stat_logger: Any) -> tuple[Any, list[BaseProcess]]:
    """AsyncLLM on the running loop, and the processes it started. Blocks for as long as the model takes to load.

    Called on a thread that lives as long as the engine: its processes die with that thread.
    """
    if current_platform.is_unspecified():
        raise EngineNotReady(
            f"vLLM finds no GPU here that it can use (CUDA_DEVICE={settings.cuda_device}); see nvidia-smi"
        )
    cause.keep()
    largest.register()
    _one_tokenizer_is_enough()
    before = set(multiprocessing.active_children())
    try:
        config = AsyncEngineArgs(**engine_args(settings)).create_engine_config()
        engine = AsyncLLM.from_vllm_config(config, stat_loggers=[stat_logger], disable_log_stats=True)
    except (RuntimeError, ValueError, OSError, TypeError) as error:
        raise EngineNotReady(f"vLLM cannot start: {cause.kept() or cause.one_line(error)}") from error
    return engine, [child for child in multiprocessing.active_children() if child not in before]


def _one_tokenizer_is_enough() -> None:
    """vLLM deep-copies the tokenizer for threads that render prompts: seconds of every start. Ours come rendered."""
    hf.maybe_make_thread_pool = lambda tokenizer, copies=1: tokenizer
