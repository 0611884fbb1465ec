"""The engine's threads: pages side by side, one thread each; threads without a page help another page's lines along."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Threads:
    """``count`` threads. Models that run in one thread each lose nothing to each other, threads inside a model do."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="cpu-engine")
        self._lock = threading.Lock()
        self._pages = 0  # that run or wait
        self._helpers = 0

    def page(self, read: Callable[[], T]) -> Future[T]:
        """Run ``read`` in a thread of its own, as soon as one is free."""
        with self._lock:
            self._pages += 1
        future = self._executor.submit(read)
        future.add_done_callback(self._page_ended)
        return future

    def _page_ended(self, _: Future[T]) -> None:
        with self._lock:
            self._pages -= 1

    @property
    def alone(self) -> bool:
        """Whether the page that asks is the only one, and has idle threads beside it."""
        return self._pages == 1 and self.count > 1

    def each(self, work: Callable[[int], T], count: int) -> list[T]:
        """``[work(0), work(1), ...]``, called from a page's thread; idle threads take some of it.

        What any of them raises is raised here, once none works on it any more.
        """
        shared = _Shared(work, count)
        helpers: list[Future[None]] = []
        try:
            while shared.left() and not shared.stopped:
                while shared.left() > 1 and self._join():
                    helpers.append(self._executor.submit(self._help, shared))
                shared.one()
        finally:
            shared.stopped = shared.stopped or shared.left() > 0  # an error here ends the helpers' work too
            errors = [error for helper in helpers if (error := self._ended(helper))]
        if errors:
            raise errors[0]
        return [shared.results[i] for i in range(count)]

    def _join(self) -> bool:
        """Take an idle thread, if there is one."""
        with self._lock:
            free = self._pages + self._helpers < self.count
            self._helpers += free
            return free

    def _leave(self) -> None:
        with self._lock:
            self._helpers -= 1

    def _help(self, shared: _Shared[T]) -> None:
        """Work along until all is done, or a page needs the thread."""
        try:
            while self._pages + self._helpers <= self.count and shared.one():
                pass
        finally:
            self._leave()

    def _ended(self, helper: Future[None]) -> BaseException | None:
        if helper.cancel():
            self._leave()
            return None
        return helper.exception()

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


class _Shared(Generic[T]):
    """Work that several threads take turn by turn."""

    def __init__(self, work: Callable[[int], T], count: int) -> None:
        self._work, self._count, self._turns = work, count, itertools.count()
        self._taken = 0
        self.results: dict[int, T] = {}
        self.stopped = False

    def left(self) -> int:
        return self._count - self._taken

    def one(self) -> bool:
        """Do the next piece; false when there is none."""
        if self.stopped or (turn := next(self._turns)) >= self._count:
            return False
        self._taken = max(self._taken, turn + 1)
        try:
            self.results[turn] = self._work(turn)
        except BaseException:
            self.stopped = True
            raise
        return True
