"""In every process of a chaos run: its clock and its name server are what files say, so that they can be broken.

``CHAOS_CLOCK``: file of the seconds that ``time.time`` is off. ``CHAOS_DNS``: file with what becomes of a lookup of a
name under ``.chaos.test``: ``ok``, ``again`` (nobody can say just now), ``none`` (no such name) or ``slow``.
``CHAOS_PAYLOADS``: file with what becomes of a write to the payload folder: ``ok``, ``full``, ``refused`` or ``slow``.
"""

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.2


class Watched:
    """A file's text, looked at now and then."""

    def __init__(self, path: str, default: str) -> None:
        self.path, self.text, self.until = Path(path), default, 0.0

    def __call__(self) -> str:
        now = time.monotonic()
        if now >= self.until:
            self.until = now + LOOK_SECONDS
            self.text = self.path.read_text() or self.text
        return self.text


def break_clock(path: str) -> None:
    offset, real, real_ns = Watched(path, "0"), time.time, time.time_ns
    time.time = lambda: real() + float(offset())
    time.time_ns = lambda: real_ns() + int(float(offset()) * 1e9)


def break_lookups(path: str) -> None:
    state, real = Watched(path, "ok"), socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".chaos.test"):
            return real(host, *args, **options)
        match state().strip():
            case "again":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            case "none":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            case "slow":
                time.sleep(3)
        return real("127.0.0.1", *args, **options)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


def break_payloads(path: str) -> None:
    """The payload folder is what flushes files, and nothing else in these processes does."""
    state, real = Watched(path, "ok"), os.fsync

    def fsync(descriptor: int) -> None:
        match state().strip():
            case "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "refused":
                raise OSError(errno.EIO, "Input/output error")
            case "slow":
                time.sleep(0.5)
        real(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


if "CHAOS_CLOCK" in os.environ:
    break_clock(os.environ["CHAOS_CLOCK"])
if "CHAOS_DNS" in os.environ:
    break_lookups(os.environ["CHAOS_DNS"])
if "CHAOS_PAYLOADS" in os.environ:
    break_payloads(os.environ["CHAOS_PAYLOADS"])
