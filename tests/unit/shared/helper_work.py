"""What the tests of the helper ask a child to do."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from shared.errors import EncryptedPdf
from shared.helper import mapped


def pid() -> int:
    return os.getpid()


def sleep(seconds: float) -> None:
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
