"""What the engine can say of itself: numbers for ``/health``, ``/models`` and ``/metrics``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pynvml
from vllm.v1.metrics.loggers import StatLoggerBase

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Stats:
    """Counted by us: ``totals`` only grow. From the engine's scheduler, once a step: ``load``."""

    totals: Counter[str] = field(default_factory=Counter)
    load: dict[str, float] = field(default_factory=dict)

    def finished(self, reason: str) -> None:
        self.totals[f"finish_{reason}_total"] += 1

    def metrics(self, *, idle: bool) -> dict[str, float]:
        """``idle``: the scheduler reports nothing once it has nothing to do, so its last word is out of date."""
        return {**self.totals, **(dict.fromkeys(self.load, 0.0) if idle else self.load)}

    def logger_factory(self, _vllm_config: Any, _engine_index: int = 0) -> Any:
        """For ``AsyncLLM(stat_loggers=…)``."""
        return SchedulerLoad(self.load)


class SchedulerLoad(StatLoggerBase):  # type: ignore[misc]
    """Keeps the scheduler's latest numbers."""

    def __init__(self, load: dict[str, float]) -> None:
        self._load = load

    def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
        if scheduler_stats is not None:
            self._load["running_requests"] = scheduler_stats.num_running_reqs
            self._load["waiting_requests"] = scheduler_stats.num_waiting_reqs
            self._load["kv_cache_usage"] = scheduler_stats.kv_cache_usage

    def log_engine_initialized(self) -> None:
        """Nothing to say."""


class Gpu:
    """The device's memory, by NVML; None where there is none."""

    def __init__(self, cuda_device: str) -> None:
        self._handle = _handle(cuda_device.split(",")[0].strip())

    def memory(self) -> Mapping[str, int]:
        """Bytes ``used`` and ``total`` of the device, of all processes on it; empty without one."""
        if self._handle is None:
            return {}
        try:
            found = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        except pynvml.NVMLError:
            logger.warning("NVML does not answer any more", exc_info=True)
            self._handle = None
            return {}
        return {"used": int(found.used), "total": int(found.total)}


def _handle(device: str) -> Any | None:
    """NVML's handle of a CUDA device: an index in PCI order, or a UUID."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByIndex(int(device)) if device.isdigit() else _by_uuid(device)
    except pynvml.NVMLError:
        return None


def _by_uuid(device: str) -> Any:
    return pynvml.nvmlDeviceGetHandleByUUID(device)
