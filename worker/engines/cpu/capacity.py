"""How many pages the CPU engine reads at once."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1024 * 1024
MODELS, PAGE = 700 * MIB, 550 * MIB
"""Memory of a worker with its models, and of a page while it is read (measured on A4 at 144 dpi, 16 pages at once)."""

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def slots(threads: int | None) -> int:
    """``threads`` if given, else one page for each core that the process may run on and that memory suffices for."""
    if threads:
        return threads
    return max(1, min(cores(), (memory() - MODELS) // PAGE))


def cores() -> int:
    """Cores that this process may run on; macOS only knows how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes that this process may take: the machine's memory, or its container's if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(limit for path in LIMITS if (limit := limit_of(path)) is not None)])


def limit_of(path: Path) -> int | None:
    """What a control group's file says; None where there is no such file or no limit (``max``)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
