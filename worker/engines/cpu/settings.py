"""The CPU engine's own settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from worker.settings import EngineSettings


class CpuSettings(EngineSettings):
    """Read by the CPU engine."""

    operational: ClassVar[frozenset[str]] = frozenset({"cpu_threads"})

    cpu_threads: int | None = Field(
        None, ge=1, description="pages the CPU engine reads at once, a thread each; default: by cores and memory"
    )
