"""Work on bytes nobody here made, done in a process that may die: bounded in time and memory, gone with its parent.

What runs there is ``shared/sandbox_child.py``; it imports what the calls need and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from shared import sandbox_child
from shared.sandbox_child import BEGUN, LENGTH, framed

T = TypeVar("T")
START_SECONDS = 60.0  # a child that has not taken its work by then never will; a busy machine starts one slowly
CHUNK: Final = 256 * 1024  # bytes that are received at once


@dataclass(frozen=True, slots=True)
class Failures:
    """What to raise when the child, not the work, failed: a class of our error tree, with its title as detail."""

    timed_out: Callable[[], Exception]
    crashed: Callable[[], Exception]
    out_of_memory: Callable[[], Exception]


class _NotBegunError(Exception):
    """The child took the call not at all: it was killed while idle, or does not start."""


class _DiedError(Exception):
    """The child died of the call."""


class _ExpiredError(Exception):
    """The call took too long."""


class SandboxPool:
    """``processes`` children, started when first needed, each with at most ``memory`` bytes of address space.

    A child is replaced after ``max_tasks`` calls, so what a library leaks does not add up. Each has a socket of its own
    and shares nothing with the others: whatever becomes of one, they go on.
    """

    def __init__(self, *, processes: int, memory: int, max_tasks: int = 1000) -> None:
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
        except _ExpiredError as error:
            raise failures.timed_out() from error
        except (_NotBegunError, _DiedError) as error:
            raise failures.crashed() from error
        except MemoryError as error:
            raise failures.out_of_memory() from error
        finally:
            self._idle.put_nowait(child)

    async def close(self) -> None:
        """End every child, at once."""
        await asyncio.gather(*(child.discard() for child in self._children))


class _Process:
    """A child's process and its socket, for whichever event loop asks. ``left``: calls that it may still take."""

    def __init__(self, memory: int, calls: int) -> None:
        self._socket, its = socket.socketpair()
        with its:
            self._popen = _spawn(its.fileno())
        self._socket.sendall(framed((sys.path, os.getpid(), memory)))  # as much as a new socket takes at once
        self._socket.setblocking(False)
        self._received = bytearray()
        self.left = calls

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self, size: int) -> bytes:
        """So many bytes. Raises ``ConnectionError`` where the process has gone."""
        while len(self._received) < size:
            more = await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)
            if not more:
                raise ConnectionResetError("the child has gone")
            self._received += more
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    async def end(self) -> None:
        self._popen.kill()
        self._socket.close()
        await asyncio.to_thread(self._popen.wait)


class _SandboxChild:
    """One process at a time, replaced when it dies."""

    def __init__(self, memory: int, max_tasks: int) -> None:
        self._memory, self._max_tasks = memory, max_tasks
        self._process: _Process | None = None

    async def call(self, function: Callable[..., T], args: tuple[object, ...], seconds: float) -> T:
        request = framed((function, args))
        try:
            succeeded, answer = await self._ask(request, seconds)
        except _NotBegunError:
            # It was killed while idle: this call was not the cause, so it gets a fresh child.
            succeeded, answer = await self._ask(request, seconds)
        if not succeeded:
            raise answer
        return answer  # type: ignore[no-any-return]

    async def _ask(self, request: bytes, seconds: float) -> tuple[bool, Any]:
        """Whether the function returned, and what it returned or raised."""
        process = self._process = self._process or _Process(self._memory, self._max_tasks)
        try:
            await _begun(process, request)
            answer = await _answer(process, seconds)
        except BaseException:
            await self.discard()
            raise
        process.left -= 1
        if not process.left:
            await self.discard()
        return pickle.loads(answer)  # type: ignore[no-any-return]  # noqa: S301 - from a process of ours

    async def discard(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


async def _begun(process: _Process, request: bytes) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            await process.send(request)
            await process.receive(len(BEGUN))
    except (TimeoutError, ConnectionError) as error:
        raise _NotBegunError from error


async def _answer(process: _Process, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            (length,) = LENGTH.unpack(await process.receive(LENGTH.size))
            return await process.receive(length)
    except TimeoutError as error:
        raise _ExpiredError from error
    except ConnectionError as error:
        raise _DiedError from error


def _spawn(number: int) -> subprocess.Popen[bytes]:
    """Start a child from this thread, which has to live as long as the child (``die_with_parent``)."""
    command = [sys.executable, "-I", "-S", sandbox_child.__file__, str(number)]
    return subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
