"""What the tests of the helper ask a child to do."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path

from shared.blob import mapped
from shared.errors import EncryptedPdf
from shared.sandbox_child import LENGTH


def pid() -> int:
    return os.getpid()


def modules() -> list[str]:
    return list(sys.modules)


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


def die_while_answering() -> None:
    """As a process does that the kernel kills while it sends an answer."""
    link = next(found for found in gc.get_objects() if isinstance(found, socket.socket))
    link.sendall(LENGTH.pack(1000) + b"the beginning")
    os.kill(os.getpid(), signal.SIGKILL)
