"""Watches supervisord's log: says when a process has ended and runs again, and when starting it again is of no use."""

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
LOG_HEAD = re.compile(r"^\[[^\]]*\] ")  # Celery's time and level
LOOP_ENDS, LOOP_SECONDS = 5, 60.0
TAIL = 15


class ProcessWatch:
    """``settled``: everything has been ready. Before, a process that ends by itself would only do so again."""

    def __init__(self, stack: LocalStack, console: Console) -> None:
        self._house, self._console = stack, console
        self._read = 0
        self._spawned: Counter[str] = Counter()
        self._ends: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LOOP_ENDS))
        self.settled = False

    def look(self) -> None:
        """Say what has happened since the last look. Raises ``Failure`` when the service cannot run."""
        self._house.check()
        for line in self._news():
            if found := SPAWNED.search(line):
                self._has_begun(found[1], found[2])
            elif found := EXITED.search(line):
                self._has_ended(found[1], found[2])
            elif found := GAVE_UP.search(line):
                raise self._failure(found[1], "keeps ending")

    def _news(self) -> list[str]:
        """The whole lines that were added to the log."""
        journal = self._house.folder.journal
        if not journal.exists():
            return []
        with journal.open("rb") as log:
            log.seek(self._read)
            text, newline, _ = log.read().rpartition(b"\n")
        self._read += len(text) + len(newline)
        return text.decode(errors="replace").splitlines()

    def _has_begun(self, name: str, pid: str) -> None:
        self._spawned[name] += 1
        if self._spawned[name] > 1:
            self._console.say(f"{name} was started again, pid {pid}")

    def _has_ended(self, name: str, how: str) -> None:
        ends = self._ends[name]
        ends.append(time.monotonic())
        if not self.settled and how.startswith("exit status"):
            raise self._failure(name, f"could not start ({how})")
        if len(ends) == LOOP_ENDS and ends[-1] - ends[0] < LOOP_SECONDS:
            raise self._failure(name, f"ended {LOOP_ENDS} times within a minute (last: {how})")
        self._console.say(f"{name} has ended: {how}")

    def _failure(self, name: str, what: str) -> Failure:
        tail = last_lines(self._house.folder.log(name), TAIL)
        for line in tail:
            self._console.say(f"  {name}: {line}")
        return Failure(f"{name} {what}: {reason(tail)}")


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines that are not blank."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return [line for line in text.splitlines() if line.strip()][-count:]


def reason(tail: list[str]) -> str:
    """The line that most likely says why: the last one that names an error, else the last one."""
    telling = [line for line in tail if re.search(r"error|exception|cannot|critical", line, re.IGNORECASE)]
    return LOG_HEAD.sub("", (telling or tail or ["it said nothing"])[-1]).strip()
