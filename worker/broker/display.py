"""Make Celery's events tell what became of a task: FAILURE, REVOKED and RETRY beside SUCCESS.

Whatever is shown, the message is acknowledged, as before: a job that is to be read again has a new message, which the
script that gave it back has put into the queue. Nothing here changes a record.
"""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import Task
from celery.exceptions import Ignore, Retry
from celery.worker.request import Request

from worker.outcome import TaskOutcome, TaskState


class TaskFailed(Exception):
    """The job or webhook has failed; the message begins with its code."""


class TaskCancelled(Ignore):  # type: ignore[misc]
    """Its owner ended the job."""


class TaskGivenBack(Exception):
    """It is queued again."""


class ShownRequest(Request):  # type: ignore[misc]
    """Celery shows a task as revoked only if it was revoked by Celery; ours are ended by their records."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        # The frames it came through hold it, and all that the task was made of: 200 KB that only the collector frees.
        error.__traceback__ = None
        if isinstance(error, TaskCancelled):
            self._announce_revoked(str(error), False, None, False)  # acknowledges, too
            return
        super().on_failure(exc_info, send_failed_event, return_ok)


class ShownTask(Task):  # type: ignore[misc]
    """A task whose end is shown as it was. Its failures are no faults of the code: they are logged as events."""

    Request = ShownRequest
    throws = (TaskFailed,)


def show(outcome: TaskOutcome) -> str:
    """The task's result, or the exception that makes Celery show what happened."""
    match outcome.state:
        case TaskState.SUCCEEDED:
            return outcome.text
        case TaskState.FAILED:
            raise TaskFailed(outcome.text)
        case TaskState.CANCELLED:
            raise TaskCancelled(outcome.text)
        case TaskState.GIVEN_BACK:
            raise Retry(outcome.text, exc=TaskGivenBack(outcome.text))
        case TaskState.UNCHANGED:
            raise Ignore(outcome.text)
