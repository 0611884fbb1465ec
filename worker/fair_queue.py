"""Turns: who of many jobs gets the next free place, page by page."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.contract.options import Priority

WEIGHTS = {Priority.HIGH: 16, Priority.NORMAL: 4, Priority.LOW: 1}


class FairQueueClosed(Exception):
    """The gate lets nobody in any more: the worker is stopping."""


class FairQueue:
    """``capacity`` places, given out in turns among the jobs that wait (stride scheduling).

    A job of weight 4 gets four pages in for each page of a job of weight 1, and nobody starves. The last ``reserve``
    places go only to jobs that hold none, so that a document of a thousand pages delays a single page by pages.
    For one event loop; first come, first served within a job.
    """

    def __init__(self, capacity: int, reserve: int = 0) -> None:
        if not 0 <= reserve < capacity:
            raise ValueError(f"reserve {reserve} must be below capacity {capacity}")
        self.capacity, self.reserve = capacity, reserve
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._passes: dict[str, float] = {}
        self._now = 0.0  # the highest pass that was let in
        self._weights: dict[str, int] = {}
        self._last: dict[str, int] = {}  # when a job was last let in, to settle equal passes
        self._entries = 0
        self._closed = False

    @property
    def free(self) -> int:
        return self.capacity - self._held.total()

    @asynccontextmanager
    async def place(self, key: str, weight: int = 1) -> AsyncIterator[None]:
        await self.enter(key, weight)
        try:
            yield
        finally:
            self.leave(key)

    async def enter(self, key: str, weight: int = 1) -> None:
        """Wait for a place; ``leave`` must follow. Raises ``FairQueueClosed``."""
        if self._closed:
            raise FairQueueClosed
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiting.get(key):
            # A newcomer is one turn behind who was let in last: at that one's own place, a stream of newcomers would
            # keep every job from its second page. Turns nobody waited for are not made up for.
            self._passes[key] = max(self._passes.get(key, self._now + 1 / weight), self._now)
        self._weights[key] = weight
        self._waiting.setdefault(key, deque()).append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in (waiting := self._waiting.get(key, deque())):
                waiting.remove(turn)
                self._forget(key)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(key)
            raise

    def leave(self, key: str) -> None:
        self._held[key] -= 1
        self._forget(key)
        self._admit()

    def close(self) -> None:
        """Send away all that wait or come later; who is inside stays."""
        self._closed = True
        for key, turns in list(self._waiting.items()):
            while turns:
                if not (turn := turns.popleft()).done():
                    turn.set_exception(FairQueueClosed())
            self._forget(key)

    def open(self) -> None:
        """Let those in again that come from now on."""
        self._closed = False

    def _admit(self) -> None:
        while self.free and (key := self._next()) is not None:
            turn = self._waiting[key].popleft()
            if not turn.cancelled():
                self._held[key] += 1
                self._entries += 1
                self._last[key] = self._entries
                self._now = max(self._now, self._passes[key])
                self._passes[key] += 1 / self._weights[key]
                turn.set_result(None)

    def _next(self) -> str | None:
        may_enter = [
            key for key, turns in self._waiting.items() if turns and (self.free > self.reserve or not self._held[key])
        ]
        return min(may_enter, key=lambda key: (self._passes[key], self._last.get(key, 0)), default=None)

    def _forget(self, key: str) -> None:
        if not self._held[key] and not self._waiting.get(key):
            for table in (self._held, self._waiting, self._passes, self._weights, self._last):
                table.pop(key, None)
