"""Numbers for Prometheus: this process's requests, and what the store and the workers say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from shared.contract.options import TERMINAL

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
UNSAFE: Final = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """What the store said when it was asked; ``up`` False: nothing."""

    up: bool
    counters: Mapping[str, int] = field(default_factory=dict)
    workers: Sequence[dict[str, Any]] = ()
    ready: int = 0
    oldest_queued: float = 0.0
    memory_share: float = 0.0


class Metrics:
    """The counts of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("ocr_http_requests", "requests answered", labels, registry=self._registry)
        self._seconds = Histogram(
            "ocr_http_request_seconds",
            "time to the end of the answer",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self._registry,
        )

    def request(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request under its route's template. 499: the client left before an answer."""
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
    yield GaugeMetricFamily("ocr_running_jobs", "jobs being read", value=counters.get("running", 0))
    yield GaugeMetricFamily("ocr_oldest_queued_seconds", "age of the oldest waiting job", value=snapshot.oldest_queued)
    yield GaugeMetricFamily("ocr_workers_ready", "workers with a ready engine", value=snapshot.ready)
    yield GaugeMetricFamily("ocr_store_memory_share", "used_memory / maxmemory of Redis", value=snapshot.memory_share)
    yield CounterMetricFamily("ocr_jobs_submitted", "jobs accepted", value=counters.get("submitted", 0))
    yield CounterMetricFamily("ocr_leases_lost", "jobs taken from silent workers", value=counters.get("leases_lost", 0))


def _ended(counters: Mapping[str, int]) -> Iterator[Metric]:
    jobs = CounterMetricFamily("ocr_jobs_ended", "jobs that ended", labels=["status"])
    for status in sorted(TERMINAL):
        jobs.add_metric([status], counters.get(f"ended:{status}", 0))
    pages = CounterMetricFamily("ocr_pages", "pages that ended", labels=["status"])
    for status in ("ok", "degraded", "failed", "skipped"):
        pages.add_metric([status], counters.get(f"pages:{status}", 0))
    hooks = CounterMetricFamily("ocr_webhooks", "webhooks that ended, and deliveries that failed", labels=["status"])
    for status in ("delivered", "failed", "exhausted", "gone"):
        hooks.add_metric([status], counters.get(f"hooks:{status}", 0))
    yield from (jobs, pages, hooks)


def _engines(workers: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    """Each engine's own numbers as ``ocr_engine_<name>``, labelled with its worker."""
    families: dict[str, GaugeMetricFamily] = {}
    for account in workers:
        engine = account["engine"]
        for name, value in _numbers(account, engine):
            metric = f"ocr_engine_{UNSAFE.sub('_', name)}"
            family = families.setdefault(metric, GaugeMetricFamily(metric, "", labels=["worker", "engine"]))
            family.add_metric([account["name"], engine["name"]], value)
    yield from families.values()


def _numbers(account: Mapping[str, Any], engine: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "slots", engine["slots"]
    for name in ("jobs", "pages_rendered", "pages_reading"):
        if name in account:
            yield name, account[name]
    if engine.get("gpu_memory_used") is not None:
        yield "gpu_memory_used_bytes", engine["gpu_memory_used"]
    yield from engine.get("metrics", {}).items()
