"""Work on bytes nobody here made, done in a process that may die: bounded in time and memory, gone with its parent.

Start the parent by ``python -m``: a spawned child runs any other kind of main script again before it is ready.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import TimeoutError as Expired
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pebble import ProcessExpired, ProcessPool

T = TypeVar("T")
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Failures:
    """What to raise when the child, not the work, failed: a class of our error tree, with its title as detail."""

    timed_out: Callable[[], Exception]
    crashed: Callable[[], Exception]
    out_of_memory: Callable[[], Exception]


class Blob:
    """Bytes in memory that helper processes can open by ``path``; no file is left, however this process ends.

    A memfd: it lives as long as a process holds it. ``path`` is ``/proc/<pid>/fd/<n>``, so Linux only. Without
    ``data`` it is empty, for a child to write its answer into.
    """

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self._fd = os.memfd_create("upload", os.MFD_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def read(self) -> bytes:
        size = os.fstat(self._fd).st_size
        return os.pread(self._fd, size, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def mapped(path: str) -> mmap.mmap | bytes:
    """In the child: the bytes of a ``Blob``, not copied (copy on write, so that ctypes may point at them)."""
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


class Helper:
    """``processes`` children, started at the first call, each with at most ``memory`` bytes of address space.

    A child is replaced after ``max_tasks`` calls, so what a library leaks does not add up.
    """

    def __init__(self, *, processes: int, memory: int, max_tasks: int = 200) -> None:
        self._processes, self._memory, self._max_tasks = processes, memory, max_tasks
        self._pool: ProcessPool | None = None

    async def run(
        self,
        function: Callable[..., T],
        *args: object,
        timeout: float,  # noqa: ASYNC109 - the child is killed by it, which asyncio.timeout cannot do
        failures: Failures,
    ) -> T:
        """``function(*args)`` in a child; ``timeout`` seconds count from its start there, not from the queue.

        Raises what the function raised, or one of ``failures``. Cancelling the call ends the child's work.
        """
        try:
            try:
                return await self._call(function, args, timeout)
            except BrokenProcessPool:
                # An idle child was killed from outside: this call was not its cause, so it gets fresh children.
                return await self._call(function, args, timeout)
        except (Expired, ProcessExpired, BrokenProcessPool, MemoryError) as error:
            raise _translate(error, failures) from error

    async def _call(self, function: Callable[..., T], args: tuple[object, ...], seconds: float) -> T:
        pool = self._pool = self._pool if self._pool is not None and self._pool.active else self._start()
        try:
            answer: T = await asyncio.wrap_future(pool.schedule(function, args=args, timeout=seconds))
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            await asyncio.to_thread(_stop, pool)
            raise
        return answer

    def _start(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._processes,
            max_tasks=self._max_tasks,
            initializer=_bound,
            initargs=(os.getpid(), self._memory),
            context=get_context("spawn"),
        )

    async def close(self) -> None:
        """End every child, at once."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(_stop, pool)


def _translate(error: BaseException, failures: Failures) -> Exception:
    if isinstance(error, Expired):
        return failures.timed_out()
    return failures.out_of_memory() if isinstance(error, MemoryError) else failures.crashed()


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    with suppress(BrokenProcessPool):
        pool.join()


def _bound(parent: int, memory: int) -> None:
    """In the child, before anything else: limits that cannot be raised again, and no life after the parent's."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent has gone")
    # Python's own handler would wait for C code that never returns.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
