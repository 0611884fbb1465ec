"""What Celery is shown of a task's end."""

from __future__ import annotations

from types import SimpleNamespace

from billiard.einfo import ExceptionInfo

from worker.broker.display import ShownRequest, TaskCancelled, show
from worker.outcome import TaskOutcome, TaskState


def test_what_was_raised_to_be_shown_holds_no_frames() -> None:
    """They hold it, too: of each cancelled job there would be 200 KB that only the garbage collector frees."""
    announced: list[str] = []
    request = SimpleNamespace(_announce_revoked=lambda reason, *_: announced.append(reason))
    try:
        show(TaskOutcome(TaskState.CANCELLED, "its owner ended it"))
    except TaskCancelled as error:
        shown, info = error, ExceptionInfo()
    ShownRequest.on_failure(request, info)  # type: ignore[arg-type]
    assert announced == ["its owner ended it"]
    assert shown.__traceback__ is None
