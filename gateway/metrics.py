"""Numbers for Prometheus: this gateway's requests, and what the store and the workers report.

What is counted in Redis is the same at every gateway and outlives them all. What a gateway counts itself is the sum
over its processes: with ``workers`` above 1 they share a folder (``PROMETHEUS_MULTIPROC_DIR``).
Names, units and labels are listed in ``docs/metrics.md``, which a test holds against this file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.types import Scope

from gateway.store_metrics import StoreCollector
from shared.contract.worker_status import WorkerStatus

LATENCY_BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own variable
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SUBMISSIONS: Final = frozenset({"/api/v1/jobs", "/api/v1/batches", "/api/v1/ocr"})

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the numbers are to be compared with."""

    jobs: int = 0
    pages: int = 0
    bytes: int = 0
    memory_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """The state of store and workers at one moment; ``up`` False: the store did not answer.

    ``histograms``: see ``keyspace.Histogram``. ``memory``: bytes in use and their limit, 0 for none. ``webhooks``: how
    many are to be sent, and for how many seconds the first of them has been due.
    """

    up: bool
    limits: Limits = Limits()
    counters: Mapping[str, int] = field(default_factory=dict)
    histograms: Mapping[str, int] = field(default_factory=dict)
    workers: Sequence[WorkerStatus] = ()
    oldest_queued: float = 0.0
    memory: tuple[int, int] = (0, 0)
    webhooks: tuple[int, float] = (0, 0.0)
    payload_free: int | None = None


class Metrics:
    """The counts of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        self._folder = os.environ.get(SHARED_FOLDER)
        if self._folder is not None:
            forget_dead_processes(Path(self._folder))
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "ocr_http_requests_total", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "ocr_http_request_duration_seconds", "Time to the end of the response", ("method", "route"),
            buckets=LATENCY_BUCKETS_SECONDS, registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "ocr_jobs_refused_total", "Submissions refused, by the problem's code", ("code",), registry=registry
        )
        self._streams = Gauge(
            "ocr_event_streams", "Event streams open now", registry=registry, multiprocess_mode="livesum"
        )
        if self._folder is None:
            ProcessCollector(registry=registry)

    def request(self, method: str, scope: Scope, status: int, seconds: float, code: str | None = None) -> None:
        """Count a request under its route's template. 499: the client disconnected before a response."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if code is not None and method == "POST" and route in SUBMISSIONS:
            self._refused.labels(code).inc()

    def stream_opened(self) -> None:
        self._streams.inc()

    def stream_closed(self) -> None:
        self._streams.dec()

    def render(self, snapshot: ServiceSnapshot) -> bytes:
        """The text of ``/metrics``."""
        own = self._registry
        if self._folder is not None:
            own = CollectorRegistry()
            MultiProcessCollector(own, self._folder)  # type: ignore[no-untyped-call]
            own.register(GatewayProcesses(Path(self._folder)))
        store = CollectorRegistry()
        store.register(StoreCollector(snapshot))
        return generate_latest(own) + generate_latest(store)


def process_ids(folder: Path) -> set[int]:
    """Of the processes that have counted anything into the shared folder."""
    return {int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def forget_dead_processes(folder: Path) -> None:
    """What they counted stays; what they were doing does not."""
    for pid in process_ids(folder):
        if not is_alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


class GatewayProcesses(Collector):
    """``process_*`` of all processes of this gateway together: whichever answers, the numbers are the same."""

    EARLIEST: Final = "process_start_time_seconds"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        values: dict[str, list[float]] = {}
        for pid in sorted(filter(is_alive, process_ids(self._folder))):
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                found.setdefault(family.name, family)
                values.setdefault(family.name, []).extend(sample.value for sample in family.samples)
        for name, family in found.items():
            total = min(values[name]) if name == self.EARLIEST else sum(values[name])
            family.samples = [family.samples[0]._replace(value=total)]
            yield family
        count = len([pid for pid in process_ids(self._folder) if is_alive(pid)])
        yield GaugeMetricFamily("ocr_gateway_processes", "Processes of this gateway", value=count)
