"""What the tests of the helper ask a child to do."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from pathlib import Path

from pebble.pool.channel import WorkerChannel

from shared.errors import EncryptedPdf
from shared.sandbox import mapped


def pid() -> int:
    return os.getpid()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def say_and_sleep(path: str, seconds: float) -> None:
    Path(path).write_bytes(b"begun")
    time.sleep(seconds)


def segfault() -> None:
    ctypes.string_at(0)


def allocate(size: int) -> int:
    return len(bytearray(size))


def refuse() -> None:
    raise EncryptedPdf("a detail")


def length(path: str) -> int:
    return len(mapped(path))


def answer(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def die_with_the_locks() -> None:
    """As a process does that the kernel kills while it sends an answer."""
    channel = next(found for found in gc.get_objects() if isinstance(found, WorkerChannel))
    channel.mutex.acquire()
    os.kill(os.getpid(), signal.SIGKILL)
