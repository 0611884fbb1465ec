"""What is loaded inside vLLM's own process (EngineCore), through its ``worker_extension_cls`` argument.

Importing it ties the process to its parent, keeps what it fails of, and leaves its one busy thread alone. The parent
leaves its id in the environment, the only way in before vLLM's own arguments are there: see ``config.environment``.
"""

from __future__ import annotations

import gc
import os
import signal

import torch

from shared.process import die_with_parent
from worker.engines.vllm_host import core_failure

PARENT = "OCR_ENGINE_PARENT"

GC_THRESHOLDS = (100_000, 20, 50)
"""A step of 512 pages makes thousands of objects that live for a step or two: Python's own thresholds (700, 10, 10)
have the collector look at all of them several times a step."""


class WorkerExtension:
    """vLLM mixes this into its worker, which answers to its methods by ``AsyncLLM.collective_rpc``."""

    def warm_up(self) -> None:
        """What the model wants done before its first request, with the KV cache in place."""
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        if hasattr(model, "warm_up"):
            model.warm_up()


def set_up(parent: int) -> None:
    die_with_parent(signal.SIGKILL, parent)
    core_failure.keep()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():  # it may also be a list, one number for each level of nesting
        torch.set_num_threads(int(threads))
    gc.set_threshold(*GC_THRESHOLDS)


set_up(int(os.environ[PARENT]))
