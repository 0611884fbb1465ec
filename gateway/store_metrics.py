"""What the store and the workers' reports say, as Prometheus's metric families. Every gateway gives the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.contract.states import TERMINAL_STATUSES, PageStatus
from shared.contract.worker_status import DRAINING, WorkerStatus
from shared.store.keyspace import HISTOGRAM_BOUNDS, RANKS, Counter, Histogram
from shared.version import VERSION

if TYPE_CHECKING:
    from gateway.metrics import ServiceSnapshot

UNSAFE_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")
PROCESS_ID: Final = re.compile(r"-\d+$")
WORKER_STATES: Final = ("starting", "ready", "busy", DRAINING, "dead")
WEBHOOK_OUTCOMES: Final = ("delivered", "failed", "exhausted", "gone")
AUDITED: Final = Counter.AUDITED
HISTOGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "queue": ("ocr_job_queue_seconds", "From a job's submission to its first begin"),
    "first_text": ("ocr_first_text_seconds", "From a job's submission to its first text"),
    "job": ("ocr_job_duration_seconds", "From a job's submission to its end"),
    "page": ("ocr_page_duration_seconds", "From the begin of a page in the engine to its stored result"),
    "render": ("ocr_page_render_seconds", "Drawing the picture of a page"),
    "webhook": ("ocr_webhook_attempt_seconds", "One attempt to deliver a webhook"),
}


class StoreCollector(Collector):
    def __init__(self, snapshot: ServiceSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield _gauge("ocr_store_up", "1 when Redis answered", int(snapshot.up))
        yield from _limits(snapshot)
        if snapshot.up:
            yield from _build(snapshot.workers)
            yield from _queue(snapshot)
            yield from _jobs(snapshot.counters)
            yield from _pages(snapshot.counters)
            yield from _webhooks(snapshot)
            yield from _audits(snapshot.counters)
            yield from _histograms(snapshot.histograms)
            yield from _workers(snapshot)
            yield from _engines(snapshot.workers)


def _gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_, value=value)


def _labelled(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, help_: str, label: str,
    values: Mapping[str, float],
) -> Metric:  # fmt: skip
    family = kind(name, help_, labels=[label])
    for its, value in values.items():
        family.add_metric([its], value)
    return family


def _limits(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    limits = snapshot.limits
    kinds = {"jobs": limits.jobs, "pages": limits.pages, "bytes": limits.bytes}
    yield _labelled(
        GaugeMetricFamily,
        "ocr_queue_limit",
        "Unfinished jobs, pages, bytes beyond which none is accepted",
        "kind",
        kinds,
    )
    yield _gauge(
        "ocr_store_memory_limit_ratio", "Share of Redis's memory beyond which submissions are refused",
        limits.memory_share,
    )  # fmt: skip


def _build(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    build = GaugeMetricFamily("ocr_build_info", "Always 1", labels=["version", "engine", "model"])
    engines = sorted({(worker.engine.name, worker.engine.model) for worker in workers}) or [("", "")]
    for engine, model in engines:
        build.add_metric([VERSION, engine, model], 1)
    yield build


def _queue(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    counters = snapshot.counters
    running = counters.get(Counter.RUNNING, 0)
    states = {"queued": counters.get(Counter.JOBS, 0) - running, "processing": running}
    yield _labelled(GaugeMetricFamily, "ocr_jobs", "Unfinished jobs", "state", states)
    yield _gauge("ocr_queue_pages", "Pages of unfinished jobs that have not ended", counters.get(Counter.PAGES, 0))
    yield _gauge("ocr_queue_bytes", "Bytes of unfinished jobs' uploads", counters.get(Counter.BYTES, 0))
    yield _gauge("ocr_queue_oldest_seconds", "Age of the oldest job that waits", snapshot.oldest_queued)
    used, limit = snapshot.memory
    yield _gauge("ocr_store_memory_bytes", "Memory that Redis uses", used)
    yield _gauge("ocr_store_memory_limit_bytes", "Redis's maxmemory; 0 without one", limit)
    if snapshot.payload_free is not None:
        yield _gauge("ocr_payloads_free_bytes", "Room in the payload folder's file system", snapshot.payload_free)
    missing = counters.get(Counter.PAYLOADS_MISSING, 0)
    yield CounterMetricFamily(
        "ocr_payloads_missing_total", "Payloads that a record names and nobody finds", value=missing
    )


def _jobs(counters: Mapping[str, int]) -> Iterator[Metric]:
    submitted = {p.value: counters.get(Counter.submitted_jobs(rank), 0) for p, rank in RANKS.items()}
    yield _labelled(CounterMetricFamily, "ocr_jobs_submitted_total", "Jobs accepted", "priority", submitted)
    ended = {status.value: counters.get(Counter.ended(status), 0) for status in sorted(TERMINAL_STATUSES)}
    yield _labelled(CounterMetricFamily, "ocr_jobs_ended_total", "Jobs that ended", "status", ended)
    cached = counters.get(Counter.CACHED, 0)
    yield CounterMetricFamily("ocr_jobs_cached_total", "Jobs made of an earlier job's result", value=cached)
    lost = counters.get(Counter.LEASES_LOST, 0)
    yield CounterMetricFamily("ocr_lease_losses_total", "Jobs taken from workers that fell silent", value=lost)


def _pages(counters: Mapping[str, int]) -> Iterator[Metric]:
    """The reason is a code; pages that ended without one, and before reasons were counted, have none."""
    pages = CounterMetricFamily("ocr_pages_total", "Pages that ended", labels=["status", "reason"])
    for status in PageStatus:
        prefix = Counter.pages_with_reason(status, "")
        reasons = {name.removeprefix(prefix): n for name, n in counters.items() if name.startswith(prefix)}
        pages.add_metric([status, ""], max(0, counters.get(Counter.pages_ended(status), 0) - sum(reasons.values())))
        for reason, count in sorted(reasons.items()):
            pages.add_metric([status, reason], count)
    yield pages
    causes = ("worker-lost", "worker-stopped", "engine-lost")
    retries = {cause: counters.get(Counter.page_retries(cause), 0) for cause in causes}
    yield _labelled(
        CounterMetricFamily, "ocr_page_retries_total", "Pages begun in vain, to be begun again", "reason", retries
    )


def _webhooks(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    """An attempt that exhausts its webhook is counted as failed, too: the attempts are delivered, gone and failed."""
    outcomes = {outcome: snapshot.counters.get(Counter.webhooks(outcome), 0) for outcome in WEBHOOK_OUTCOMES}
    yield _labelled(
        CounterMetricFamily, "ocr_webhook_attempts_total",
        "Attempts by outcome; exhausted counts webhooks whose last attempt failed, beside failed", "outcome", outcomes,
    )  # fmt: skip
    pending, oldest = snapshot.webhooks
    yield _gauge("ocr_webhooks_pending", "Webhooks to be sent, now or at a later try", pending)
    yield _gauge("ocr_webhook_oldest_seconds", "For how long the first webhook has been due", oldest)


def _audits(counters: Mapping[str, int]) -> Iterator[Metric]:
    audits = counters.get(Counter.AUDITS, 0)
    yield CounterMetricFamily("ocr_audits_total", "Audits of the counters in Redis", value=audits)
    drift = {counter: counters.get(Counter.drift(counter), 0) for counter in AUDITED}
    yield _labelled(
        CounterMetricFamily, "ocr_audit_drift_total", "By how much audits found counters wrong", "counter", drift
    )


def _histograms(fields: Mapping[str, int]) -> Iterator[Metric]:
    for kind, (name, help_) in HISTOGRAMS.items():
        labels = Histogram.LABELS[kind]
        family = HistogramMetricFamily(name, help_, labels=list(labels))
        for series in sorted({field.rpartition("|")[0] for field in fields if field.split("|")[0] == kind}):
            values = series.split("|")[1:]
            if len(values) == len(labels):
                family.add_metric(values, _buckets(fields, series), fields.get(f"{series}|sum", 0) / 1e6)
        if not labels and not family.samples:
            family.add_metric([], _buckets(fields, kind), 0)
        yield family


def _buckets(fields: Mapping[str, int], series: str) -> list[tuple[str, float]]:
    """``(upper bound, values at or below it)``, in rising order."""
    total, found = 0, []
    for number, bound in enumerate((*map(str, map(float, HISTOGRAM_BOUNDS)), "+Inf"), 1):
        total += fields.get(f"{series}|{number}", 0)
        found.append((bound, float(total)))
    return found


def _workers(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    states = {state: sum(w.state == state for w in snapshot.workers) for state in WORKER_STATES}
    yield _labelled(GaugeMetricFamily, "ocr_workers", "Workers that report, by state", "state", states)
    starts = snapshot.counters.get(Counter.ENGINE_STARTS, 0)
    yield CounterMetricFamily("ocr_engine_starts_total", "Engines that became ready", value=starts)


def worker_labels(workers: Sequence[WorkerStatus]) -> Iterator[tuple[str, WorkerStatus]]:
    """A name for each that its restart does not change: its host, with a number for a second one there."""
    seen: dict[str, int] = {}
    for worker in sorted(workers, key=lambda worker: (worker.started_at, worker.name)):
        host = PROCESS_ID.sub("", worker.name)
        seen[host] = seen.get(host, 0) + 1
        yield host if seen[host] == 1 else f"{host}/{seen[host]}", worker


def _engines(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    """Slots, and each engine's own numbers as ``ocr_engine_<name>``; ``<name>_total`` are counters."""
    slots = GaugeMetricFamily("ocr_engine_slots", "Pages the engine reads at once", labels=["worker", "state"])
    gpu = GaugeMetricFamily("ocr_engine_gpu_memory_bytes", "GPU memory that the engine uses", labels=["worker"])
    own: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for label, worker in worker_labels(workers):
        slots.add_metric([label, "total"], worker.slots or worker.engine.slots)
        slots.add_metric([label, "used"], worker.pages_reading)
        if worker.engine.gpu_memory_used is not None:
            gpu.add_metric([label], worker.engine.gpu_memory_used)
        for name, value in worker.engine.metrics.items():
            own.setdefault(name, _family(name)).add_metric([label, worker.engine.name], value)
    yield from (slots, gpu, *own.values())


def _family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    metric, labels = f"ocr_engine_{UNSAFE_IN_NAMES.sub('_', name)}", ["worker", "engine"]
    if metric.endswith("_total"):
        return CounterMetricFamily(metric, f"{name} since the worker started, as its engine counts it", labels=labels)
    return GaugeMetricFamily(metric, f"{name}, as the engine reports it", labels=labels)
