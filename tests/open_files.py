"""What a test's own process holds open."""

from __future__ import annotations

import gc
from pathlib import Path


def open_files() -> set[tuple[str, str]]:
    """Each file by number and name; a number alone may be given out again."""
    gc.collect()  # what earlier tests left for the collector closes when it likes
    links = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return {(fd.name, str(fd.readlink())) for fd in links if fd.is_symlink()}
