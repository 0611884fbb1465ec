"""Watch supervisord's log: report processes that end and restart, and fail when restarting does not help."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict, deque
from pathlib import Path

from deploy.local.console import Console
from deploy.local.failure import Failure
from deploy.local.stack import LocalStack

SPAWNED = re.compile(r"spawned: '(\w+)' with pid (\d+)")
EXITED = re.compile(r"exited: (\w+) \((.+); (?:not )?expected\)")
GAVE_UP = re.compile(r"gave up: (\w+) ")
LOG_HEAD = re.compile(r"^\S+Z [A-Z]+ log .*?\blogger=\S+: ")  # what stands before a message (shared/log.py)
LOOP_EXITS, LOOP_SECONDS = 5, 60.0
TAIL_LINES = 15


class ProcessWatch:
    """``settled``: everything has been ready once. Before that, a process that exits would only exit again."""

    def __init__(self, stack: LocalStack, console: Console) -> None:
        self._stack, self._console = stack, console
        self._read = 0
        self._spawned: Counter[str] = Counter()
        self._ends: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LOOP_EXITS))
        self.settled = False

    def poll(self) -> None:
        """Report what has happened since the last call. Raises ``Failure`` when the service cannot run."""
        self._stack.check()
        for line in self._new_lines():
            if found := SPAWNED.search(line):
                self._report_start(found[1], found[2])
            elif found := EXITED.search(line):
                self._report_end(found[1], found[2])
            elif found := GAVE_UP.search(line):
                raise self._failure(found[1], "keeps ending")

    def _new_lines(self) -> list[str]:
        """The complete lines added to the log since the last call."""
        journal = self._stack.folder.journal
        if not journal.exists():
            return []
        with journal.open("rb") as log:
            log.seek(self._read)
            text, newline, _ = log.read().rpartition(b"\n")
        self._read += len(text) + len(newline)
        return text.decode(errors="replace").splitlines()

    def _report_start(self, name: str, pid: str) -> None:
        self._spawned[name] += 1
        if self._spawned[name] > 1:
            self._console.say(f"{name} was restarted, pid {pid}")

    def _report_end(self, name: str, how: str) -> None:
        ends = self._ends[name]
        ends.append(time.monotonic())
        if not self.settled and how.startswith("exit status"):
            raise self._failure(name, f"could not start ({how})")
        if len(ends) == LOOP_EXITS and ends[-1] - ends[0] < LOOP_SECONDS:
            raise self._failure(name, f"ended {LOOP_EXITS} times within a minute (last: {how})")
        self._console.say(f"{name} has ended: {how}")

    def _failure(self, name: str, what: str) -> Failure:
        tail = last_lines(self._stack.folder.log(name), TAIL_LINES)
        for line in tail:
            self._console.say(f"  {name}: {line}")
        return Failure(f"{name} {what}: {reason(tail)}")


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines that are not blank."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return [line for line in text.splitlines() if line.strip()][-count:]


def reason(tail: list[str]) -> str:
    """The line that most likely names the cause: the last one with an error, else the last one."""
    telling = [line for line in tail if re.search(r"error|exception|cannot|critical", line, re.IGNORECASE)]
    return LOG_HEAD.sub("", (telling or tail or ["no output"])[-1]).strip()
