"""How a run tells of its progress: bars on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ocr_client.cli.messages import say
from ocr_client.models import Job

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MAX_BARS = 12


class QuietReport:
    """Tells of errors alone. ``label``: what messages call the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def expect(self, files: int) -> None:
        """So many files will end."""

    def changed(self, label: str, job: Job) -> None:
        """The job of this file is like this now."""

    def written(self, label: str, path: Path) -> None:
        """A result was written."""

    def ended(self, label: str) -> None:
        """Nothing more will happen to this file."""

    def note(self, line: str) -> None:
        """Something that is no error."""

    def error(self, line: str) -> None:
        say(f"ocr: {line}")


class LineReport(QuietReport):
    """A line whenever something has changed."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def changed(self, label: str, job: Job) -> None:
        line = f"{label}: {job.status}, {_done(job)} of {job.progress.pages_total} pages"
        if self._last.get(label) != line:
            self._last[label] = line
            say(line)

    def written(self, label: str, path: Path) -> None:
        say(f"{label}: written to {path}")

    def ended(self, label: str) -> None:
        self._last.pop(label, None)

    def note(self, line: str) -> None:
        say(f"ocr: {line}")


class BarReport(QuietReport):
    """A bar for all files and one for each that is being read."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._all: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._pages: dict[str, int] = {}
        self._read, self._started = 0, time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, files: int) -> None:
        if self._all is None:
            self._all = self._progress.add_task("files", total=0, speed="")
        task = self._progress.tasks[0]
        self._progress.update(self._all, total=(task.total or 0) + files)

    def changed(self, label: str, job: Job) -> None:
        self._count(label, _done(job))
        if job.finished or job.status == "queued":
            return
        if label not in self._bars and len(self._bars) < MAX_BARS:
            self._bars[label] = self._progress.add_task(label, total=job.progress.pages_total, speed="")
        if label in self._bars:
            self._progress.update(self._bars[label], completed=_done(job), total=job.progress.pages_total)

    def ended(self, label: str) -> None:
        self._pages.pop(label, None)
        if (bar := self._bars.pop(label, None)) is not None:
            self._progress.remove_task(bar)
        if self._all is not None:
            self._progress.advance(self._all)

    def note(self, line: str) -> None:
        self._progress.console.print(f"ocr: {line}", markup=False, highlight=False)

    def error(self, line: str) -> None:
        self.note(line)

    def _count(self, label: str, done: int) -> None:
        self._read += done - self._pages.get(label, 0)
        self._pages[label] = done
        if self._all is not None:
            speed = self._read / max(time.monotonic() - self._started, 0.1)
            self._progress.update(self._all, speed=f"{speed:.1f} pages/s")


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"), TimeRemainingColumn(), console=Console(stderr=True), transient=True,
    )  # fmt: skip


def _done(job: Job) -> int:
    return job.progress.pages_done + job.progress.pages_failed


def report_for(*, quiet: bool, bars: bool) -> QuietReport:
    if quiet:
        return QuietReport()
    return BarReport() if bars and sys.stderr.isatty() else LineReport()
