"""The job and the batch as a client sees them: the JSON of the HTTP contract, and of webhooks without ``pages``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from shared.contract.document import Frozen, Usage
from shared.contract.job import Input, JobFailure, JobProgress, PageSummary, Queue, StoredJob, WebhookTarget
from shared.contract.options import Options
from shared.contract.states import JobStatus

Time = Annotated[str, Field(examples=["2026-01-31T12:00:00.000Z"], json_schema_extra={"format": "date-time"})]


class Urls(Frozen):
    self: str
    result: str
    events: str
    cancel: str
    web: str


class JobBrief(Frozen):
    """A job without its list of pages. Times are RFC 3339 in UTC; ``queue`` is null once the job has finished."""

    id: str
    object: Literal["ocr.job"] = "ocr.job"
    status: JobStatus
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    expires_at: Time | None
    deadline: Time | None
    input: Input
    options: Options
    metadata: dict[str, JsonValue]
    progress: JobProgress
    queue: Queue | None
    attempt: int = Field(description="how often a worker has started the job")
    cached: bool = Field(False, description="made of an earlier job's result, without reading anything")
    error: JobFailure | None
    usage: Usage
    engine: str | None
    batch: str | None
    webhook: WebhookTarget | None
    urls: Urls


class JobView(JobBrief):
    """A job, with one line for every page that has ended."""

    pages: tuple[PageSummary, ...]


def timestamp(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds; None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def urls(job_id: str, base: str) -> Urls:
    """``base`` is where the gateway is reached, without a slash at its end."""
    here = f"{base}/api/v1/jobs/{job_id}"
    return Urls(
        self=here,
        result=f"{here}/result",
        events=f"{here}/events",
        cancel=f"{here}/cancel",
        web=f"{base}/?job={job_id}",
    )


def brief(job: StoredJob, base: str) -> JobBrief:
    """The job as it is listed, and as webhooks carry it."""
    return JobBrief(
        id=job.id,
        status=job.status,
        created_at=timestamp(job.created_at) or "",
        started_at=timestamp(job.started_at),
        completed_at=timestamp(job.completed_at),
        expires_at=timestamp(job.expires_at),
        deadline=timestamp(job.deadline),
        input=job.input,
        options=job.options,
        metadata=job.metadata,
        progress=job.progress,
        queue=job.queue,
        attempt=job.attempt,
        cached=job.cached,
        error=job.error,
        usage=job.usage,
        engine=job.engine,
        batch=job.batch,
        webhook=job.webhook,
        urls=urls(job.id, base),
    )


def full(job: StoredJob, base: str) -> JobView:
    return JobView(**dict(brief(job, base)), pages=job.pages)
