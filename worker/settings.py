"""The worker's own settings, and the base of what an engine adds to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from shared.settings import JobSettings, SharedSettings

ENGINES = ("auto", "cpu", "deepseek-ocr", "instant")


class HeartbeatSettings(SharedSettings):
    """Read by the workers and the webhook senders."""

    heartbeat_file: Path | None = Field(None, description="file touched by the engine's loop, for liveness probes")


class WorkerSettings(JobSettings, HeartbeatSettings):
    """Read by the workers, whichever engine they run."""

    engine: str = Field("auto", description="auto, cpu, deepseek-ocr, instant, or module:load of another engine")
    jobs_in_flight: int | None = Field(
        None,
        ge=1,
        description="jobs one worker holds at once; default: 64, with DeepSeek-OCR its pages at once",
    )
    pages_in_flight: int | None = Field(None, ge=1, description="pages in the engine at once; default: the engine's")
    lease: float = Field(15.0, gt=0, description="seconds a worker's claim on a job lasts unless renewed")
    heartbeat: float = Field(0.5, gt=0, description="seconds between renewals; also how soon a cancel is seen")
    page_attempts: int = Field(3, ge=1, description="worker deaths a page may be part of before it is failed as poison")
    page_timeout: float = Field(300.0, gt=0, description="seconds one page may be read before it is failed")
    drain_seconds: float = Field(90.0, ge=0, description="seconds running pages get after TERM")

    payload_orphan_age: float = Field(
        3600.0, ge=300, description="seconds after which a payload that no record names is deleted"
    )

    render_dpi: int = Field(144, ge=36, le=600, description="least resolution of PDF pages; scans get their own")
    render_max_side: int = Field(4000, ge=64, description="longest side of a page's picture; more where it is cut up")
    render_max_pixels: int = Field(48_000_000, ge=4096, description="largest area of a page's picture, in pixels")
    render_timeout: float = Field(20.0, gt=0, description="seconds one page may take to render before it is killed")
    render_processes: int = Field(2, ge=1, description="render processes of a worker")
    render_ahead: int = Field(4, ge=1, description="pages rendered before the engine has a slot for them")
    keep_page_images: bool = Field(True, description="keep each page's picture beside its result")
    page_image_quality: int = Field(70, ge=1, le=95, description="WebP quality of the kept page pictures")

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if value not in ENGINES and ":" not in value:
            raise ValueError(f"not an engine: {value}; choose {', '.join(ENGINES)} or module:load")
        return value


class EngineSettings(JobSettings):
    """Passed to an engine's ``load``. A module with settings of its own offers a subclass of this as ``SETTINGS``.

    Their names begin with ``engine_`` unless the engine comes with this service: other processes then pass over them.
    """

    passes_over_engines: ClassVar[bool] = False
    operational: ClassVar[frozenset[str]] = frozenset()
    """Names of the engine's own settings that change how fast it reads and never what."""

    def facts_of_reading(self) -> dict[str, Any]:
        """What of the engine's settings decides what it reads: a result is kept for those who have the same."""
        own = {name for kind in type(self).__mro__ for name in _own_fields(kind)}
        return self.model_dump(mode="json", include=own - self.operational)


def _own_fields(kind: type) -> set[str]:
    """The settings that an engine's class adds to those of all."""
    if not issubclass(kind, EngineSettings) or kind is EngineSettings:
        return set()
    return set(kind.__annotations__) & set(kind.model_fields)
