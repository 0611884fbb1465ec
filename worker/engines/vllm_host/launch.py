"""AsyncLLM on the running loop, and the processes it starts."""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from shared.errors import EngineNotReady
from worker.engines.vllm_host import core_failure, patches, plugin
from worker.engines.vllm_host.config import engine_args
from worker.engines.vllm_host.model import ModelCard
from worker.engines.vllm_host.settings import VllmSettings

SCHEDULERS = {
    True: "worker.engines.vllm_host.scheduler.AsyncPageScheduler",
    False: "worker.engines.vllm_host.scheduler.PageScheduler",
}
"""By whether vLLM schedules a step while the one before runs: it decides that itself, from the platform."""


def launch(settings: VllmSettings, card: ModelCard, stat_logger: Any) -> tuple[Any, list[BaseProcess]]:
    """AsyncLLM on the running loop, and the processes it started. Blocks for as long as the model takes to load.

    Called on a thread that lives as long as the engine: its processes die with that thread.
    """
    if current_platform.is_unspecified():
        raise EngineNotReady(
            f"vLLM finds no GPU here that it can use (CUDA_DEVICE={settings.cuda_device}); see nvidia-smi"
        )
    core_failure.keep()
    patches.share_one_tokenizer()
    plugin.register()  # vLLM asks its plugins once a process: an engine before this one may have been another model's
    before = set(multiprocessing.active_children())
    try:
        config = AsyncEngineArgs(**engine_args(settings, card)).create_engine_config()
        config.scheduler_config.scheduler_cls = SCHEDULERS[bool(config.scheduler_config.async_scheduling)]
        engine = AsyncLLM.from_vllm_config(config, stat_loggers=[stat_logger], disable_log_stats=True)
    except (RuntimeError, ValueError, OSError, TypeError) as error:
        why = core_failure.kept() or core_failure.one_line(error)
        raise EngineNotReady(f"vLLM cannot start: {why}") from error
    return engine, [child for child in multiprocessing.active_children() if child not in before]


def shut_down(engine: Any) -> None:
    """End AsyncLLM and close its sockets. Called on its loop: elsewhere its own tasks take the end for a crash.

    Where vLLM's process has died, a thread of vLLM's has begun this already, ``shutdown`` does nothing, and the sockets
    wait for a later turn of the loop. One left open blocks whoever collects its context, in this process, for good.
    """
    engine.shutdown()
    engine.engine_core.resources()
