"""What the engine can say of itself: numbers for ``/health``, ``/models`` and ``/metrics``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase


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
