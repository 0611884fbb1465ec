"""Ctrl-C during a run: once, what has been submitted goes on at the service; twice, it is cancelled."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from ocr_client.cli.exit_codes import INTERRUPTED
from ocr_client.cli.reports import QuietReport
from ocr_client.cli.run import ReadRun

SECOND_SECONDS = 3.0
"""How long after the first Ctrl-C a second one is waited for."""


class Interrupts:
    """``first`` and ``second`` are set by Ctrl-C; TERM sets both."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupted)
        self._loop.add_signal_handler(signal.SIGTERM, self._terminated)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGINT)
        self._loop.remove_signal_handler(signal.SIGTERM)

    def _interrupted(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    def _terminated(self) -> None:
        self.second.set()
        self.first.set()


async def run_interruptibly(run: ReadRun, work: Coroutine[Any, Any, int], report: QuietReport) -> int:
    """The exit code of the work, or ``INTERRUPTED``. ``run`` knows what it leaves open."""
    with Interrupts() as interrupts:
        working = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(interrupts.first.wait())
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if working.done():
            return working.result()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await _leave(run, interrupts, report.error)
        return INTERRUPTED


async def _leave(run: ReadRun, interrupts: Interrupts, say: Callable[[str], None]) -> None:
    if not run.open:
        say("interrupted")
        return
    if not interrupts.second.is_set():
        say(f"interrupted: {_jobs(len(run.open))} at the service; the same command fetches the results: {_command()}")
        say(f"Ctrl-C once more within {SECOND_SECONDS:g} s cancels what goes on")
        try:
            async with asyncio.timeout(SECOND_SECONDS):
                await interrupts.second.wait()
        except TimeoutError:
            return
    say(f"{await run.cancel_open()} jobs are cancelled")


def _jobs(number: int) -> str:
    return "1 job goes on" if number == 1 else f"{number} jobs go on"


def without_key(arguments: list[str]) -> list[str]:
    """The command line as it may be shown: a key on it stays off terminals and logs."""
    shown = ["--api-key=…" if word.startswith("--api-key=") else word for word in arguments]
    return ["…" if at and shown[at - 1] == "--api-key" else word for at, word in enumerate(shown)]


def _command() -> str:
    return shlex.join(["ocr", *without_key(sys.argv[1:])])
