"""Numbers for Prometheus: this process's requests, and what the store and the workers report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from shared.contract.states import TERMINAL_STATUSES, PageStatus
from shared.contract.worker_status import WorkerStatus
from shared.store.keyspace import Counter as StoreCounter

LATENCY_BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
UNSAFE_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """The state of store and workers at one moment; ``up`` False: the store did not answer."""

    up: bool
    counters: Mapping[str, int] = field(default_factory=dict)
    workers: Sequence[WorkerStatus] = ()
    ready: int = 0
    oldest_queued: float = 0.0
    memory_share: float = 0.0
    payload_free: int | None = None


class Metrics:
    """The counts of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("ocr_http_requests", "requests answered", labels, registry=self._registry)
        self._seconds = Histogram(
            "ocr_http_request_seconds",
            "time to the end of the response",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self._registry,
        )

    def request(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        """Count a request under its route's template. 499: the client disconnected before a response."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, snapshot: ServiceSnapshot) -> bytes:
        """The text of ``/metrics``."""
        store = CollectorRegistry()
        store.register(_Store(snapshot))
        return generate_latest(self._registry) + generate_latest(store)


class _Store(Collector):
    def __init__(self, snapshot: ServiceSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("ocr_store_up", "1 when Redis answered", value=int(self._snapshot.up))
        if self._snapshot.up:
            yield from _queue(self._snapshot)
            yield from _ended(self._snapshot.counters)
            yield from _engines(self._snapshot.workers)


def _queue(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    counters = snapshot.counters
    for name, what in (("jobs", "unfinished jobs"), ("pages", "pages of them"), ("bytes", "bytes of their uploads")):
        yield GaugeMetricFamily(f"ocr_open_{name}", what, value=counters.get(name, 0))
    yield GaugeMetricFamily("ocr_running_jobs", "jobs being read", value=counters.get(StoreCounter.RUNNING, 0))
    yield GaugeMetricFamily("ocr_oldest_queued_seconds", "age of the oldest waiting job", value=snapshot.oldest_queued)
    yield GaugeMetricFamily("ocr_workers_ready", "workers with a ready engine", value=snapshot.ready)
    yield GaugeMetricFamily("ocr_store_memory_share", "used_memory / maxmemory of Redis", value=snapshot.memory_share)
    if snapshot.payload_free is not None:
        free = snapshot.payload_free
        yield GaugeMetricFamily("ocr_payloads_free_bytes", "room in the payload folder's file system", value=free)
    yield CounterMetricFamily("ocr_jobs_submitted", "jobs accepted", value=counters.get(StoreCounter.SUBMITTED, 0))
    missing = counters.get(StoreCounter.PAYLOADS_MISSING, 0)
    yield CounterMetricFamily("ocr_payloads_missing", "payloads that a record names and nobody finds", value=missing)
    yield from _audits(counters)
    lost = counters.get(StoreCounter.LEASES_LOST, 0)
    yield CounterMetricFamily("ocr_leases_lost", "jobs taken from silent workers", value=lost)


def _audits(counters: Mapping[str, int]) -> Iterator[Metric]:
    yield CounterMetricFamily("ocr_audits", "audits of the counters", value=counters.get(StoreCounter.AUDITS, 0))
    drift = CounterMetricFamily("ocr_counter_drift", "by how much audits found counters wrong", labels=["counter"])
    for counter in StoreCounter.AUDITED:
        drift.add_metric([counter], counters.get(StoreCounter.drift(counter), 0))
    yield drift


def _ended(counters: Mapping[str, int]) -> Iterator[Metric]:
    jobs = CounterMetricFamily("ocr_jobs_ended", "jobs that ended", labels=["status"])
    for status in sorted(TERMINAL_STATUSES):
        jobs.add_metric([status], counters.get(StoreCounter.ended(status), 0))
    pages = CounterMetricFamily("ocr_pages", "pages that ended", labels=["status"])
    for page_status in PageStatus:
        pages.add_metric([page_status], counters.get(StoreCounter.pages_ended(page_status), 0))
    hooks = CounterMetricFamily("ocr_webhooks", "webhooks that ended, and deliveries that failed", labels=["status"])
    for outcome in ("delivered", "failed", "exhausted", "gone"):
        hooks.add_metric([outcome], counters.get(StoreCounter.webhooks(outcome), 0))
    yield from (jobs, pages, hooks)


def _engines(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    """Each engine's own numbers as ``ocr_engine_<name>``, labelled with its worker; ``<name>_total`` are counters."""
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for worker in workers:
        for name, value in _numbers(worker):
            family = families.setdefault(name, _family(name))
            family.add_metric([worker.name, worker.engine.name], value)
    yield from families.values()


def _family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    metric, labels = f"ocr_engine_{UNSAFE_IN_NAMES.sub('_', name)}", ["worker", "engine"]
    if metric.endswith("_total"):
        return CounterMetricFamily(metric, f"{name} since the worker started, as its engine counts it", labels=labels)
    return GaugeMetricFamily(metric, f"{name}, as the worker reports it", labels=labels)


def _numbers(worker: WorkerStatus) -> Iterator[tuple[str, float]]:
    engine = worker.engine
    yield "slots", engine.slots
    yield "jobs", worker.jobs
    yield "pages_rendered", worker.pages_rendered
    yield "pages_reading", worker.pages_reading
    if engine.gpu_memory_used is not None:
        yield "gpu_memory_used_bytes", engine.gpu_memory_used
    yield from engine.metrics.items()
