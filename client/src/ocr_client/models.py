"""The service's answers as small frozen records. Members they do not name are ignored: the service may grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINISHED = frozenset({"succeeded", "partial", "failed", "cancelled"})
WITH_RESULT = frozenset({"succeeded", "partial"})
PAGE_ENDS = frozenset({"page.completed", "page.failed"})


@dataclass(frozen=True, slots=True)
class Progress:
    """``pages_done`` and ``pages_failed`` together make up ``pages_total`` in the end."""

    pages_total: int
    pages_done: int
    pages_failed: int


@dataclass(frozen=True, slots=True)
class PageState:
    """The outcome of a page that has ended: ``ok``, ``degraded``, ``failed`` or ``skipped``."""

    number: int
    status: str
    reason: str | None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PageState:
        return cls(body["number"], body["status"], body.get("reason"))


@dataclass(frozen=True, slots=True)
class JobError:
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was asked for. ``page_range``: the pages to be read, as ``1-3,7``.

    ``cached``: it was made of the result of the same file, without reading it again.
    """

    id: str
    status: str
    filename: str
    page_range: str
    progress: Progress
    pages: tuple[PageState, ...]
    engine: str | None
    error: JobError | None
    urls: Mapping[str, str]
    cached: bool = False

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Job:
        """Read a job with or without its list of pages."""
        progress, error = body["progress"], body["error"]
        return cls(
            id=body["id"],
            status=body["status"],
            filename=body["input"]["filename"],
            page_range=body["input"]["page_range"],
            progress=Progress(progress["pages_total"], progress["pages_done"], progress["pages_failed"]),
            pages=tuple(map(PageState.from_json, body.get("pages", ()))),
            engine=body["engine"],
            error=JobError(error["code"], error["detail"]) if error else None,
            urls=body["urls"],
            cached=body.get("cached", False),
        )

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def has_result(self) -> bool:
        return self.status in WITH_RESULT

    @property
    def faults(self) -> tuple[PageState, ...]:
        """The pages that failed or are degraded."""
        return tuple(page for page in self.pages if page.status in ("failed", "degraded"))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job's stream. Pass ``id`` as ``after`` to resume the stream behind it."""

    id: str
    name: str
    data: Mapping[str, Any]

    @property
    def ended_pages(self) -> tuple[PageState, ...]:
        """The pages that have ended, as far as this event says: one, all of a ``snapshot``, or none."""
        if self.name in PAGE_ENDS:
            return (PageState(self.data["page"], self.data["status"], self.data.get("reason")),)
        return tuple(map(PageState.from_json, self.data["pages"])) if self.name == "snapshot" else ()


@dataclass(frozen=True, slots=True)
class Listed:
    """One part of the list of jobs. ``next_cursor``: where the next one begins, None after the last."""

    jobs: tuple[Job, ...]
    next_cursor: str | None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Listed:
        return cls(tuple(map(Job.from_json, body["items"])), body["next_cursor"])


@dataclass(frozen=True, slots=True)
class Hit:
    """A block that contains what was searched for. ``bbox``: pixels of the page image."""

    job: str
    filename: str
    page: int
    block: int
    snippet: str
    bbox: tuple[int, int, int, int]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Hit:
        return cls(
            job=body["job"],
            filename=body["filename"],
            page=body["page"],
            block=body["block"],
            snippet=body["snippet"],
            bbox=tuple(body["bbox"]),
        )


@dataclass(frozen=True, slots=True)
class ServiceVersion:
    """What answers at the URL."""

    name: str
    version: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ServiceVersion:
        return cls(body["name"], body["version"])


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """``model``: what it reads with."""

    model: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RunningEngine:
        return cls(body["model"])


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file of a batch that was refused."""

    filename: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    id: str
    counts: Mapping[str, int]
    jobs: tuple[Job, ...]
    rejected: tuple[Rejected, ...]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Batch:
        rejected = ((r["filename"], r["problem"]) for r in body["rejected"])
        return cls(
            id=body["id"],
            counts=body["counts"],
            jobs=tuple(Job.from_json(job) for job in body["jobs"]),
            rejected=tuple(Rejected(name, problem["code"], problem["detail"]) for name, problem in rejected),
        )
