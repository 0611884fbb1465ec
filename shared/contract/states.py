"""The states of a job, a page and a webhook, each with its sentence, and the ways between them.

``docs/job-lifecycle.md`` draws them, and a test holds the drawing against this file. The scripts of ``shared/lua`` are
the only ones that move anything along an arrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self


class DocumentedEnum(StrEnum):
    """Every member carries its sentence, as ``member.__doc__``."""

    def __new__(cls, value: str, sentence: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.__doc__ = sentence
        return member


class JobStatus(DocumentedEnum):
    """The state of a job."""

    QUEUED = "queued", "Waits for a worker: newly submitted, or given back with the pages that have ended."
    PROCESSING = "processing", "A worker holds its lease and reads it; back to queued when the lease runs out."
    SUCCEEDED = "succeeded", "Every page has its text, or is blank."
    PARTIAL = "partial", "Some pages failed or are degraded; the others have their text."
    FAILED = "failed", "There is no result; `error` says why."
    CANCELLED = "cancelled", "The owner ended it; pages that had ended by then stay readable."


TERMINAL_STATUSES: Final[frozenset[JobStatus]] = frozenset(
    {JobStatus.SUCCEEDED, JobStatus.PARTIAL, JobStatus.FAILED, JobStatus.CANCELLED}
)
"""The states that nothing leaves."""


class PageStatus(DocumentedEnum):
    """How a page ended. A page that has not ended is waiting or in flight, and has no status."""

    OK = "ok", "Its text is stored."
    DEGRADED = "degraded", "Its text is stored, and `reason` says what is wrong with it."
    FAILED = "failed", "It could not be read; `reason` says why."
    SKIPPED = "skipped", "It is blank: there is nothing to read."


class PagePhase(DocumentedEnum):
    """Where a page is before it has ended."""

    WAITING = "waiting", "Nobody reads it: not begun yet, or given back."
    IN_FLIGHT = "in_flight", "The engine of the worker that holds the job reads it."


class WebhookStatus(DocumentedEnum):
    """The state of one webhook: one event of one job, sent until its receiver took it."""

    PENDING = "pending", "Waits until its next try is due."
    LEASED = "leased", "A sender may send it; pending again when the lease runs out."
    SENDING = "sending", "A sender has begun a try, which counts whatever becomes of the sender."
    DELIVERED = "delivered", "The receiver answered with 2xx."
    GONE = "gone", "The receiver answered 410: it wants no more."
    EXHAUSTED = "exhausted", "Every try of the schedule has failed."


CLOSED_WEBHOOKS: Final[frozenset[WebhookStatus]] = frozenset(
    {WebhookStatus.DELIVERED, WebhookStatus.GONE, WebhookStatus.EXHAUSTED}
)
"""The states in which nothing is sent, unless somebody has it sent again."""

Arrows = Mapping[tuple[str, str], str]
"""(state, next state) -> the scripts that lead there. "" is before the first state."""

JOB_ARROWS: Final[Arrows] = MappingProxyType(
    {
        ("", JobStatus.QUEUED): "submit",
        ("", JobStatus.SUCCEEDED): "reuse",
        (JobStatus.QUEUED, JobStatus.PROCESSING): "start",
        (JobStatus.QUEUED, JobStatus.QUEUED): "reap: its message is sent again",
        (JobStatus.PROCESSING, JobStatus.QUEUED): "release, or reap when the lease ran out",
        (JobStatus.PROCESSING, JobStatus.SUCCEEDED): "finish",
        (JobStatus.PROCESSING, JobStatus.PARTIAL): "finish",
        (JobStatus.PROCESSING, JobStatus.FAILED): "finish, fail, or overdue",
        (JobStatus.PROCESSING, JobStatus.CANCELLED): "cancel, delete",
        (JobStatus.QUEUED, JobStatus.SUCCEEDED): "finish, when the worker before had read every page",
        (JobStatus.QUEUED, JobStatus.PARTIAL): "finish, likewise",
        (JobStatus.QUEUED, JobStatus.FAILED): "overdue, claim without an upload, or finish likewise",
        (JobStatus.QUEUED, JobStatus.CANCELLED): "cancel, delete",
    }
)
PAGE_ARROWS: Final[Arrows] = MappingProxyType(
    {
        ("", PagePhase.WAITING): "submit",
        (PagePhase.WAITING, PagePhase.IN_FLIGHT): "page_start",
        (PagePhase.IN_FLIGHT, PagePhase.WAITING): "page_stop, release, reap, claim by another worker",
        (PagePhase.IN_FLIGHT, PageStatus.OK): "page_end",
        (PagePhase.IN_FLIGHT, PageStatus.DEGRADED): "page_end",
        (PagePhase.IN_FLIGHT, PageStatus.SKIPPED): "page_end",
        (PagePhase.IN_FLIGHT, PageStatus.FAILED): "page_end",
        (PagePhase.WAITING, PageStatus.FAILED): "page_end: not renderable, or begun too often",
    }
)
WEBHOOK_ARROWS: Final[Arrows] = MappingProxyType(
    {
        ("", WebhookStatus.PENDING): "the job's transition",
        (WebhookStatus.PENDING, WebhookStatus.LEASED): "webhook_take",
        (WebhookStatus.LEASED, WebhookStatus.LEASED): "webhook_take when the lease ran out",
        (WebhookStatus.LEASED, WebhookStatus.PENDING): "webhook_take while the breaker is open",
        (WebhookStatus.LEASED, WebhookStatus.SENDING): "webhook_begin",
        (WebhookStatus.SENDING, WebhookStatus.PENDING): "webhook_end after a failure",
        (WebhookStatus.SENDING, WebhookStatus.DELIVERED): "webhook_end",
        (WebhookStatus.SENDING, WebhookStatus.GONE): "webhook_end",
        (WebhookStatus.SENDING, WebhookStatus.EXHAUSTED): "webhook_end, or webhook_take after the sender's death",
        (WebhookStatus.SENDING, WebhookStatus.LEASED): "webhook_take after the sender's death",
        (WebhookStatus.DELIVERED, WebhookStatus.PENDING): "webhook_again",
        (WebhookStatus.GONE, WebhookStatus.PENDING): "webhook_again",
        (WebhookStatus.EXHAUSTED, WebhookStatus.PENDING): "webhook_again",
    }
)
