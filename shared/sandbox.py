"""Work on bytes nobody here made, done in a process that may die: bounded in time and memory, gone with its parent.

Start the parent by ``python -m``: a spawned child runs any other kind of main script again before it is ready.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import TimeoutError as Expired
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from io import UnsupportedOperation
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from shared.process import die_with_parent

T = TypeVar("T")
START_SECONDS = 60.0  # a child that has not taken its work by then never will; a busy machine starts one slowly


@dataclass(frozen=True, slots=True)
class Failures:
    """What to raise when the child, not the work, failed: a class of our error tree, with its title as detail."""

    timed_out: Callable[[], Exception]
    crashed: Callable[[], Exception]
    out_of_memory: Callable[[], Exception]


class Blob:
    """Bytes in memory that helper processes can open by ``path``; no file is left, however this process ends.

    On Linux a memfd, which lives as long as a process holds it: ``path`` is ``/proc/<pid>/fd/<n>``. Elsewhere a
    temporary file, which ``close`` removes and a killed process leaves. Without ``data`` it is empty, for a child to
    write its answer into.
    """

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self._file: Path | None = None
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("upload", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        else:
            self._fd, self.path = tempfile.mkstemp(prefix="ocr-")
            self._file = Path(self.path)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    @classmethod
    def of(cls, file: BinaryIO) -> Self:
        """The bytes of a whole file. One that lies on disk is pointed at and not copied, where that is possible."""
        file.seek(0)
        try:
            number = file.fileno() if hasattr(os, "memfd_create") else None
        except UnsupportedOperation:
            number = None
        if number is None:
            return cls(file.read())
        file.flush()
        blob = cls.__new__(cls)
        blob._file, blob._fd = None, os.dup(number)
        blob.path = f"/proc/{os.getpid()}/fd/{blob._fd}"
        return blob

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def map(self) -> mmap.mmap:
        """What was written, not copied; it outlives ``close``."""
        return mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._file is not None:
                self._file.unlink(missing_ok=True)

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


class SandboxPool:
    """``processes`` children, started when first needed, each with at most ``memory`` bytes of address space.

    A child is replaced after ``max_tasks`` calls, so what a library leaks does not add up. Each has a pool of its own:
    pebble's workers share locks, and one killed while it holds them would take the others along.
    """

    def __init__(self, *, processes: int, memory: int, max_tasks: int = 200) -> None:
        self._children = [_SandboxChild(memory, max_tasks) for _ in range(processes)]
        self._idle: asyncio.LifoQueue[_SandboxChild] = asyncio.LifoQueue()
        for child in self._children:
            self._idle.put_nowait(child)

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
        child = await self._idle.get()
        try:
            return await child.call(function, args, timeout)
        except (Expired, ProcessExpired, BrokenProcessPool, MemoryError) as error:
            raise _translate(error, failures) from error
        finally:
            self._idle.put_nowait(child)

    async def close(self) -> None:
        """End every child, at once."""
        await asyncio.gather(*(child.discard() for child in self._children))


class _SandboxChild:
    """One process at a time, replaced when it dies."""

    def __init__(self, memory: int, max_tasks: int) -> None:
        self._memory, self._max_tasks = memory, max_tasks
        self._pool: ProcessPool | None = None

    async def call(self, function: Callable[..., T], args: tuple[object, ...], seconds: float) -> T:
        try:
            return await self._attempt(function, args, seconds)
        except BrokenProcessPool:
            # It was killed while idle: this call was not the cause, so it gets a fresh child.
            return await self._attempt(function, args, seconds)

    async def _attempt(self, function: Callable[..., T], args: tuple[object, ...], seconds: float) -> T:
        pool = self._pool = self._pool if self._pool is not None and self._pool.active else self._start()
        work = pool.schedule(function, args=args, timeout=seconds)
        answer: asyncio.Future[T] = asyncio.wrap_future(work)
        try:
            done, _ = await asyncio.wait({answer}, timeout=START_SECONDS)
            if not done and not work.running():
                raise BrokenProcessPool("the child does not start")
            async with asyncio.timeout(seconds + START_SECONDS):
                return await answer
        except BrokenProcessPool:
            await self.discard()
            raise
        finally:
            answer.cancel()

    def _start(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1,
            max_tasks=self._max_tasks,
            initializer=_bound,
            initargs=(os.getpid(), self._memory),
            context=get_context("spawn"),
        )

    async def discard(self) -> None:
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
    die_with_parent(signal.SIGKILL, parent)
    # Python's own handler would wait for C code that never returns.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses to lower it below what its own libraries have mapped
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
