"""Bytes that another process can open by a path, not copied."""

from __future__ import annotations

import mmap
import os
import tempfile
from io import UnsupportedOperation
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


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
