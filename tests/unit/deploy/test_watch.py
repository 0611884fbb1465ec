"""What is made of supervisord's log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from deploy.local.console import Console
from deploy.local.failure import Failure
from deploy.local.folder import Folder
from deploy.local.stack import LocalStack
from deploy.local.watch import LOOP_EXITS, ProcessWatch, reason

KILLED = "WARN exited: worker (terminated by SIGKILL; not expected)"
GONE = "WARN exited: worker (exit status 71; not expected)"


class Log:
    """A watch over a folder in which a test plays supervisord."""

    def __init__(self, path: Path, *, settled: bool) -> None:
        self.folder = Folder(path, temporary=True)
        stack = SimpleNamespace(folder=self.folder, check=lambda: None)
        self.watch = ProcessWatch(cast(LocalStack, stack), Console())
        self.watch.settled = settled

    def look_at(self, *lines: str) -> None:
        with self.folder.journal.open("a") as journal:
            journal.writelines(f"2026-01-01 00:00:00,000 {line}\n" for line in lines)
        self.watch.poll()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, settled=True)


def test_a_death_and_a_new_start_are_said(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    log.look_at("INFO spawned: 'worker' with pid 7")
    log.look_at(KILLED, "INFO spawned: 'worker' with pid 8")
    assert capsys.readouterr().err == "worker has ended: terminated by SIGKILL\nworker was restarted, pid 8\n"


def test_a_line_that_is_still_being_written_is_read_later(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    log.folder.journal.write_text(KILLED[:20])
    log.watch.poll()
    assert capsys.readouterr().err == ""
    log.folder.journal.write_text(KILLED + "\n")
    log.watch.poll()
    assert capsys.readouterr().err == "worker has ended: terminated by SIGKILL\n"


def test_a_process_that_ends_again_and_again_ends_the_run_with_its_last_lines(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.folder.log("worker").write_text(
        "fine\n2026-01-01T00:00:00.000Z CRITICAL log worker=vm-1 logger=worker.service: the engine has died: why\n"
    )
    log.look_at(*[GONE] * (LOOP_EXITS - 1))
    with pytest.raises(Failure) as caught:
        log.look_at(GONE)
    assert str(caught.value) == "worker ended 5 times within a minute (last: exit status 71): the engine has died: why"
    assert "  worker: fine\n" in capsys.readouterr().err


def test_a_process_that_supervisord_gives_up_ends_the_run(log: Log) -> None:
    with pytest.raises(Failure, match="gateway keeps ending: no output"):
        log.look_at("INFO gave up: gateway entered FATAL state, too many start retries too quickly")


def test_before_all_is_ready_one_end_by_itself_is_enough(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"worker could not start \(exit status 71\)"):
        Log(tmp_path, settled=False).look_at(GONE)


def test_before_all_is_ready_a_killed_process_is_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Log(tmp_path, settled=False).look_at(KILLED)
    assert "worker has ended" in capsys.readouterr().err


def test_the_reason_is_the_last_line_that_names_an_error() -> None:
    assert reason(["ValueError: no", "INFO bye"]) == "ValueError: no"
    assert reason(["one", "two"]) == "two"
    assert reason([]) == "no output"
