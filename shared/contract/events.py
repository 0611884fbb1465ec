"""The events of a job: one record each, written by the store's scripts and by workers, read by gateways.

In a job's stream an entry has two fields, ``event`` (the name) and ``data`` (the record as JSON). What follows the
stream over HTTP gets the same names and the same JSON (``docs/api.md``), and two events more that only the gateway
makes: ``queue`` and ``snapshot``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from shared.contract.document import PageStatus
from shared.contract.job import JobFailure, JobProgress
from shared.contract.states import DocumentedEnum, JobStatus


class EventName(DocumentedEnum):
    """The name of an event, as in the stream and over HTTP."""

    STATUS = "status", "The job is queued, being read, or queued again."
    PAGE_STARTED = "page.started", "The engine reads a page from its beginning."
    TOKEN = "token", "More text of a page."
    PAGE_RESTARTED = "page.restarted", "What was told of a page so far is void; it is read again."
    PAGE_COMPLETED = "page.completed", "A page's result is stored."
    PAGE_FAILED = "page.failed", "A page could not be read."
    DONE = "done", "The job has ended; the last event."
    QUEUE = "queue", "The job's place in the queue; made by the gateway."
    SNAPSHOT = "snapshot", "The job as it is, where older events are gone; made by the gateway."


class EventRecord(BaseModel):
    """What all events share. Fields of a newer version are kept, so that they are passed on."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: ClassVar[str]

    def payload(self) -> dict[str, Any]:
        """The record as JSON, with what it was made of and nothing else."""
        return self.model_dump(mode="json", exclude_unset=True)


class StatusChanged(EventRecord):
    """``attempt``: how often a worker has begun it, when it is processing. ``reason``: why it is queued again."""

    name: ClassVar[str] = EventName.STATUS
    status: JobStatus
    attempt: int | None = None
    reason: str | None = None


class PageStarted(EventRecord):
    name: ClassVar[str] = EventName.PAGE_STARTED
    page: int


class PageText(EventRecord):
    """A piece of the page's Markdown, as the engine makes it."""

    name: ClassVar[str] = EventName.TOKEN
    page: int
    text: str


class PageRestarted(EventRecord):
    """``reason``: ``worker-lost``, ``worker-stopped``, ``engine-lost``, or the engine's own word (``repetition``)."""

    name: ClassVar[str] = EventName.PAGE_RESTARTED
    page: int
    reason: str


class PageEnded(EventRecord):
    """``attempts``: how often the page was begun. ``progress``: of the job, this page included."""

    page: int
    status: PageStatus
    reason: str | None = None
    attempts: int = 1
    missing: float = 0.0
    progress: JobProgress


class PageCompleted(PageEnded):
    name: ClassVar[str] = EventName.PAGE_COMPLETED


class PageFailed(PageEnded):
    name: ClassVar[str] = EventName.PAGE_FAILED


class JobDone(EventRecord):
    """``error`` is None unless the job failed."""

    name: ClassVar[str] = EventName.DONE
    status: JobStatus
    error: JobFailure | None = None


class OtherEvent(EventRecord):
    """An event of a newer version: passed on as it is."""

    name: ClassVar[str] = ""


JobEvent = StatusChanged | PageStarted | PageText | PageRestarted | PageCompleted | PageFailed | JobDone | OtherEvent

STORED_EVENTS: Final[Mapping[str, type[JobEvent]]] = MappingProxyType(
    {
        record.name: record
        for record in (StatusChanged, PageStarted, PageText, PageRestarted, PageCompleted, PageFailed, JobDone)
    }
)
"""The events of the stream, by name."""


def parse_event(name: str, data: str | bytes) -> JobEvent:
    """The record of one entry of the stream."""
    return STORED_EVENTS.get(name, OtherEvent).model_validate_json(data)
