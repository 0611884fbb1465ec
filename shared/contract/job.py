"""The job: one upload and what becomes of it, as a frozen view of its record in Redis.

Nobody assigns a status. The transitions are the scripts in ``shared/lua`` (submit, claim, start, page_end, finish,
fail, cancel, release, reap), each atomic and fenced by the claim's token; events and webhooks follow from them there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from shared.contract.document import Frozen, Usage
from shared.contract.options import Options
from shared.contract.record import JobRecord
from shared.contract.states import TERMINAL_STATUSES, JobStatus, PageStatus


class PageSummary(Frozen):
    """What became of one page that has ended, without its text. ``attempts``: how often it was begun."""

    number: int
    status: PageStatus
    reason: str | None = None
    missing: float = 0.0
    attempts: int = 1


class Input(Frozen):
    """What was uploaded. ``pages``: pages of the whole document; ``page_range``: those to be read, ``1-3,7``.

    ``note``: what of the file is not read: pages that are not there, attached files, pictures of an animation.
    """

    filename: str
    media_type: str
    bytes: int
    sha256: str
    pages: int
    page_range: str
    note: str | None = None


class JobProgress(Frozen):
    """``pages_done`` have a result (ok, degraded or skipped); with ``pages_failed`` they make up ``pages_total``."""

    pages_total: int
    pages_done: int
    pages_failed: int

    @property
    def pages_left(self) -> int:
        return self.pages_total - self.pages_done - self.pages_failed


class Queue(Frozen):
    """Where an unfinished job stands: ``position`` 0 is being read, 1 is next. ``eta_seconds``: None until known."""

    position: int = 0
    pages_ahead: int = 0
    eta_seconds: float | None = None


class JobFailure(Frozen):
    code: str
    detail: str


class WebhookTarget(Frozen):
    url: str
    events: tuple[str, ...]


class StoredJob(Frozen):
    """A job as it was at ``seen_at``. All times are seconds of Redis's clock since the epoch."""

    id: str
    owner: str
    status: JobStatus
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    deadline: float | None
    input: Input
    options: Options
    metadata: dict[str, JsonValue]
    progress: JobProgress
    queue: Queue | None
    attempt: int
    error: JobFailure | None
    usage: Usage
    engine: str | None
    batch: str | None
    webhook: WebhookTarget | None
    pages: tuple[PageSummary, ...]
    seen_at: float
    request_id: str | None = None
    traceparent: str | None = None
    cached: bool = False

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= self.seen_at


@dataclass(frozen=True, slots=True)
class NewJob:
    """A submission that passed every check. ``pages``: the numbers to be read, ascending. ``deadline``: seconds.

    ``page_quota``: pages the owner may submit in a day. ``request_id``, ``traceparent``: of the request (W3C).
    ``ttl``: seconds its result is kept, if not as long as any. ``content``: digest of upload, pages and options, empty
    where its result is not for later jobs.
    """

    input: Input
    pages: int
    options: Options
    owner: str = "anonymous"
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    deadline: float | None = None
    idempotency_key: str | None = None
    batch: str | None = None
    webhook: WebhookTarget | None = None
    page_quota: int | None = None
    ttl: int | None = None
    content: str = ""
    request_id: str | None = None
    traceparent: str | None = None


ANONYMOUS = "anonymous"
"""The owner of jobs that were submitted without a key."""


def record_fields(new: NewJob) -> dict[str, str | int]:
    """The part of the record that the submission decides."""
    return {
        "filename": new.input.filename,
        "media_type": new.input.media_type,
        "sha256": new.input.sha256,
        "document_pages": new.input.pages,
        "page_range": new.input.page_range,
        "page_note": new.input.note or "",
        "options": new.options.model_dump_json(),
        "content": new.content,
        "metadata": json.dumps(dict(new.metadata), ensure_ascii=False),
        "webhook_url": new.webhook.url if new.webhook else "",
        "webhook_events": ",".join(new.webhook.events) if new.webhook else "",
        "request_id": new.request_id or "",
        "traceparent": new.traceparent or "",
    }


def read_job(fields: Mapping[str, str], summaries: Mapping[str, str], queue: Queue | None, seen_at: float) -> StoredJob:
    """The view of a job from its record's ``fields`` and the ``summaries`` (number -> JSON) of its ended pages."""
    record = JobRecord.model_validate(fields)
    return StoredJob(
        id=record.id,
        owner=record.owner,
        status=record.status,
        created_at=record.created_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
        expires_at=record.expires_at,
        deadline=record.deadline,
        input=_input(record),
        options=record.options,
        metadata=record.metadata,
        progress=JobProgress(
            pages_total=record.pages_total, pages_done=record.pages_done, pages_failed=record.pages_failed
        ),
        queue=queue,
        attempt=record.attempt,
        error=JobFailure.model_validate_json(record.error) if record.error else None,
        usage=Usage(
            prompt_tokens=record.prompt_tokens,
            completion_tokens=record.completion_tokens,
            engine_seconds=record.engine_seconds,
        ),
        engine=record.engine,
        batch=record.batch,
        webhook=_webhook(record),
        pages=_in_order(summaries.values()),
        seen_at=seen_at,
        request_id=record.request_id,
        traceparent=record.traceparent,
        cached=record.cached,
    )


def _input(record: JobRecord) -> Input:
    return Input(
        filename=record.filename,
        media_type=record.media_type,
        bytes=record.bytes,
        sha256=record.sha256,
        pages=record.document_pages,
        page_range=record.page_range,
        note=record.page_note,
    )


def _webhook(record: JobRecord) -> WebhookTarget | None:
    if record.webhook_url is None:
        return None
    return WebhookTarget(url=record.webhook_url, events=tuple(record.webhook_events.split(",")))


def _in_order(summaries: Iterable[str]) -> tuple[PageSummary, ...]:
    known = (PageSummary.model_validate_json(summary) for summary in summaries)
    return tuple(sorted(known, key=lambda summary: summary.number))
