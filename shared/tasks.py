"""Tasks that end for certain, and loops that must never end by themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from shared.errors import StoreUnavailable

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1  # seconds after a first failure; doubled for each that follows
LONGEST_PAUSE: Final = 2.0
TICK: Final = 1.0  # seconds between two looks at the loops
SILENT_TICKS: Final = 30  # beyond, the heartbeat file is not touched any more
HUNG_TICKS: Final = 120  # beyond, the loop hangs, and the process ends


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel until they have ended: redis-py swallows a cancellation that comes while it connects."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.2)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen


def pause_after(failures: int) -> float:
    """Seconds before the next try."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))


class Loops:
    """The loops that live as long as their process.

    A step that the store refuses or does not answer is logged and done again after a pause. Whatever else ends or
    holds up a loop ends the process: ``on_dead`` is called, once. ``heartbeat_file`` is touched every second while
    every loop has ended a step within half a minute, so it vouches for all of them. Time is counted in looks, not
    by a clock: a process that was frozen for an hour wakes up well.
    """

    def __init__(self, on_dead: Callable[[], object], heartbeat_file: Path | None = None) -> None:
        self._on_dead = on_dead
        self._heartbeat_file = heartbeat_file
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._silent: dict[str, int] = {}  # loop -> looks since it last ended a step
        self._refused_at: float | None = None
        self._stopping = False

    def start(self, name: str, step: Callable[[], Awaitable[object]], pause: float = 0.0) -> None:
        """Do ``step`` over and over, ``pause`` seconds apart. A step may take a few seconds, not for ever."""
        if not self._tasks:
            self._spawn("watch", self._watch())
        self._silent[name] = 0
        self._spawn(name, self._repeat(name, step, pause))

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda task: self._ended(name, task))

    async def _repeat(self, name: str, step: Callable[[], Awaitable[object]], pause: float) -> None:
        failures = 0
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                failures += 1
                self._refused_at = asyncio.get_running_loop().time()
                if failures & (failures - 1) == 0:  # 1, 2, 4, 8, ...: an outage of hours is a few lines
                    logger.warning("%s waits for the store (%d times so far): %s", name, failures, error)
            else:
                if failures:
                    logger.info("%s goes on", name)
                failures = 0
            self._silent[name] = 0
            await asyncio.sleep(pause_after(failures) if failures else pause)

    @property
    def calm_seconds(self) -> float:
        """For how long the store has served every loop; endless while it never failed."""
        if self._refused_at is None:
            return float("inf")
        return asyncio.get_running_loop().time() - self._refused_at

    async def _watch(self) -> None:
        while True:
            for name in self._silent:
                self._silent[name] += 1
            silent = max(self._silent, key=lambda name: self._silent[name], default=None)
            if silent is None or self._silent[silent] <= SILENT_TICKS:
                self._touch()
            elif self._silent[silent] > HUNG_TICKS:
                raise RuntimeError(f"{silent} hangs")
            await asyncio.sleep(TICK)

    def _touch(self) -> None:
        if self._heartbeat_file is None:
            return
        try:
            self._heartbeat_file.touch()  # one inode, on a local disk; a thread would hide a loop that hangs
        except OSError as error:
            logger.error("%s cannot be touched: %s", self._heartbeat_file, error)  # noqa: TRY400

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        self._stopping = True
        error = None if task.cancelled() else task.exception()
        logger.critical("the loop %s has ended, and with it this process", name, exc_info=error)
        self._on_dead()

    async def stop(self) -> None:
        """End them all, in good order."""
        self._stopping = True
        await stop(*self._tasks.values())
