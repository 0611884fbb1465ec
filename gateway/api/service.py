"""The operators' view: workers, queue, failures, room and webhooks in one answer."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import AdminDep, SettingsDep, StoreDep, WebhookStoreDep
from shared.contract import view
from shared.contract.document import PageStatus
from shared.contract.job import StoredJob
from shared.contract.worker_status import WorkerStatus
from shared.store.keyspace import Counter
from shared.store.webhooks import WebhookStore

router = APIRouter(prefix="/api/v1", tags=["health"])

RECENT_JOBS: Final = 100
MAX_WEBHOOKS: Final = 20


class WorkerLine(BaseModel):
    """``gpu_memory``: bytes, null without a GPU. ``ready``: its engine reads pages now."""

    name: str
    state: str
    ready: bool
    engine: str
    jobs: int
    pages_reading: int
    slots: int
    gpu_memory: int | None
    started_at: str


class QueueState(BaseModel):
    """Unfinished jobs and pages; ``pages_per_second`` of the last minute, null when nothing was read."""

    jobs: int
    pages: int
    running: int
    oldest_seconds: float
    pages_per_second: float | None


class StoreRoom(BaseModel):
    """Shares of Redis's ``maxmemory``, null without one; ``payload_free``: bytes, null where nobody can say."""

    memory_share: float | None
    memory_limit: float
    payload_free: int | None


class FailureLine(BaseModel):
    reason: str
    count: int


class WebhookLine(BaseModel):
    """``host``: the receiver's, without path and query."""

    at: str
    event: str
    host: str
    status: str
    attempts: int


class ServiceState(BaseModel):
    """``failures`` and ``webhooks`` are those of the jobs that ended last."""

    queue: QueueState
    workers: list[WorkerLine]
    store: StoreRoom
    failures: list[FailureLine]
    webhooks: list[WebhookLine]
    links: dict[str, str] = Field(description="other views: name -> URL")


@router.get("/service", summary="Service state", responses=answers(401, 403))
async def service_state(_: AdminDep, store: StoreDep, webhooks: WebhookStoreDep, settings: SettingsDep) -> ServiceState:
    """For keys with the scope `admin`, or without any key on loopback."""
    workers, counters, speed, share = await asyncio.gather(
        store.workers(), store.stats.counters(), store.stats.speed(), store.stats.memory_share()
    )
    ended, free = await store.ended_jobs(RECENT_JOBS), await store.admission.payload_free()
    return ServiceState(
        queue=QueueState(
            jobs=counters.get(Counter.JOBS, 0),
            pages=counters.get(Counter.PAGES, 0),
            running=counters.get(Counter.RUNNING, 0),
            oldest_seconds=round(await store.stats.oldest_queued(), 1),
            pages_per_second=round(speed, 3) or None,
        ),
        workers=[_worker(worker) for worker in workers],
        store=StoreRoom(memory_share=share or None, memory_limit=settings.max_redis_memory, payload_free=free),
        failures=_failures(ended),
        webhooks=await _webhooks(webhooks, ended),
        links={"Metrics": "/metrics", "API": "/docs"}
        | ({"Flower": settings.flower_url} if settings.flower_url else {}),
    )


def _worker(worker: WorkerStatus) -> WorkerLine:
    return WorkerLine(
        name=worker.name,
        state=worker.state,
        ready=worker.reads_pages,
        engine=worker.engine.name,
        jobs=worker.jobs,
        pages_reading=worker.pages_reading,
        slots=worker.slots,
        gpu_memory=worker.engine.gpu_memory_used,
        started_at=view.timestamp(worker.started_at) or "",
    )


def _failures(jobs: list[StoredJob]) -> list[FailureLine]:
    """Jobs that failed by their error's code, pages that failed or are degraded by their reason; the most first."""
    faulty = [page for job in jobs for page in job.pages if page.status in {PageStatus.FAILED, PageStatus.DEGRADED}]
    reasons = Tally(job.error.code for job in jobs if job.error is not None)
    reasons.update((page.reason or "unknown").partition(":")[0] for page in faulty)
    return [FailureLine(reason=reason, count=count) for reason, count in reasons.most_common(20)]


async def _webhooks(webhooks: WebhookStore, jobs: list[StoredJob]) -> list[WebhookLine]:
    lines: list[WebhookLine] = []
    for job in jobs:
        if job.webhook is None or len(lines) >= MAX_WEBHOOKS:
            continue
        lines += [
            WebhookLine(
                at=view.timestamp(one.created_at) or "", event=one.event, host=urlsplit(one.url).hostname or "",
                status=one.status, attempts=one.tries,
            )
            for one in await webhooks.webhooks(job.id)
        ]  # fmt: skip
    return lines[:MAX_WEBHOOKS]
