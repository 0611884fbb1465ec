"""How a task of the queue ended, in words for operators. The record in Redis has decided before: this only tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.contract.states import JobStatus
from worker.claims import Standing


class TaskState(StrEnum):
    """What Celery's events, and so Flower, are to show. ``UNCHANGED``: what another task has shown already stays."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GIVEN_BACK = "given back"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """``text``: one line; it holds no file's name and no text of a document."""

    state: TaskState
    text: str


def unchanged(why: str) -> TaskOutcome:
    return TaskOutcome(TaskState.UNCHANGED, why)


def given_back(why: str) -> TaskOutcome:
    return TaskOutcome(TaskState.GIVEN_BACK, why)


def of_job(standing: Standing, *, else_: TaskOutcome) -> TaskOutcome:
    """What became of a job by its record; ``else_`` where it has not ended."""
    match standing.status:
        case JobStatus.SUCCEEDED | JobStatus.PARTIAL:
            pages = f"{standing.pages_done} of {standing.pages_total} pages"
            return TaskOutcome(TaskState.SUCCEEDED, f"{standing.status}: {pages} in {standing.seconds:.1f} s")
        case JobStatus.FAILED:
            failure = standing.failure
            return TaskOutcome(TaskState.FAILED, f"{failure.code}: {failure.detail}" if failure else "failed")
        case JobStatus.CANCELLED:
            return TaskOutcome(TaskState.CANCELLED, "cancelled")
        case None:
            return TaskOutcome(TaskState.CANCELLED, "deleted")
        case _:
            return else_
