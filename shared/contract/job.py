"""The job: one upload and what becomes of it, as a frozen view of its record in Redis.

Nobody assigns a status. The transitions are the scripts in ``shared/lua`` (submit, claim, start, page_end, finish,
fail, cancel, release, reap), each atomic and fenced by the claim's token; events and webhooks follow from them there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from shared.contract.document import Frozen, PageStatus, Usage
from shared.contract.options import TERMINAL, JobStatus, Options


class Mark(Frozen):
    """The short account of a page that has ended."""

    number: int
    status: PageStatus
    reason: str | None = None
    missing: float = 0.0
    attempts: int = 1


class Input(Frozen):
    """What was uploaded. ``pages``: pages of the whole document; ``page_range``: those to be read, ``1-3,7``."""

    filename: str
    media_type: str
    bytes: int
    sha256: str
    pages: int
    page_range: str


class Progress(Frozen):
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


class Job(Frozen):
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
    progress: Progress
    queue: Queue | None
    attempt: int
    error: JobFailure | None
    usage: Usage
    engine: str | None
    batch: str | None
    webhook: WebhookTarget | None
    pages: tuple[Mark, ...]
    seen_at: float

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= self.seen_at


@dataclass(frozen=True, slots=True)
class NewJob:
    """A submission that passed every check. ``pages``: the numbers to be read, ascending. ``deadline``: seconds.

    ``page_quota``: pages the owner may submit in a day.
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


ANONYMOUS = "anonymous"
"""The owner of jobs that were submitted without a key."""
RANKS = {"high": "0", "normal": "3", "low": "6"}


def record_fields(new: NewJob) -> dict[str, str | int]:
    """The part of the record that the submission decides."""
    return {
        "filename": new.input.filename,
        "media_type": new.input.media_type,
        "sha256": new.input.sha256,
        "document_pages": new.input.pages,
        "page_range": new.input.page_range,
        "options": new.options.model_dump_json(),
        "metadata": json.dumps(dict(new.metadata), ensure_ascii=False),
        "webhook_url": new.webhook.url if new.webhook else "",
        "webhook_events": ",".join(new.webhook.events) if new.webhook else "",
    }


def _moment(record: Mapping[str, str], name: str) -> float | None:
    return float(record[name]) if record.get(name) else None


def read_job(record: Mapping[str, str], marks: Mapping[str, str], queue: Queue | None, seen_at: float) -> Job:
    """Build the view from the fields of ``job:ID`` and ``marks:ID``."""
    error: dict[str, Any] | None = json.loads(record["error"]) if record.get("error") else None
    url = record.get("webhook_url")
    return Job(
        id=record["id"],
        owner=record["owner"],
        status=record["status"],
        created_at=float(record["created"]),
        started_at=_moment(record, "started"),
        completed_at=_moment(record, "completed"),
        expires_at=_moment(record, "expires"),
        deadline=_moment(record, "deadline"),
        input=Input(
            filename=record["filename"],
            media_type=record["media_type"],
            bytes=int(record["bytes"]),
            sha256=record["sha256"],
            pages=int(record["document_pages"]),
            page_range=record["page_range"],
        ),
        options=Options.model_validate_json(record["options"]),
        metadata=json.loads(record["metadata"]),
        progress=Progress(
            pages_total=int(record["pages_total"]),
            pages_done=int(record["pages_done"]),
            pages_failed=int(record["pages_failed"]),
        ),
        queue=queue,
        attempt=int(record["attempt"]),
        error=JobFailure(**error) if error else None,
        usage=Usage(
            prompt_tokens=int(record.get("prompt_tokens", 0)),
            completion_tokens=int(record.get("completion_tokens", 0)),
            engine_seconds=float(record.get("engine_seconds", 0)),
        ),
        engine=record.get("engine") or None,
        batch=record.get("batch") or None,
        webhook=WebhookTarget(url=url, events=tuple(record["webhook_events"].split(","))) if url else None,
        pages=tuple(sorted((Mark.model_validate_json(mark) for mark in marks.values()), key=lambda mark: mark.number)),
        seen_at=seen_at,
    )
