"""Work that outlives the request that started it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from shared.errors import StoreUnavailable

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 60.0  # how long work is tried again while the store does not serve
PAUSE_SECONDS: Final = 1.0


class Background:
    """The tasks in progress; ``join`` waits for them before the gateway closes what they use.

    ``stopping`` says whether the gateway is about to end: then nothing is tried again.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` to its end, whatever becomes of the request; again while the store does not serve."""
        task = asyncio.get_running_loop().create_task(self._finish(work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _finish(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RETRY_SECONDS
        while True:
            try:
                return await work()
            except StoreUnavailable:
                if self._stopping() or loop.time() > deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("work after a request failed", exc_info=error)

    async def join(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
