"""A document that was read: its Markdown, and its pages with blocks and boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr_client.models import Job, PageState

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page in reading order. ``bbox``: pixels of the page image, left, top, right, bottom."""

    type: str
    bbox: Box
    text: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """``width`` and ``height``: pixels of the page image. ``figures``: name -> box; see ``Client.result(…, "zip")``."""

    number: int
    status: str
    reason: str | None
    width: int
    height: int
    markdown: str
    blocks: tuple[Block, ...]
    figures: Mapping[str, Box]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Page:
        blocks = (Block(b["type"], tuple(b["bbox"]), b["text"], b.get("confidence")) for b in body["blocks"])
        return cls(
            number=body["number"],
            status=body["status"],
            reason=body.get("reason"),
            width=body["width"],
            height=body["height"],
            markdown=body["markdown"],
            blocks=tuple(blocks),
            figures={figure["name"]: tuple(figure["bbox"]) for figure in body["figures"]},
        )


@dataclass(frozen=True, slots=True)
class Document:
    """``markdown``: of all pages, as the service writes it. ``data``: the JSON it was made from."""

    job: Job
    markdown: str
    pages: tuple[Page, ...]
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_results(cls, job: Job, markdown: bytes, data: bytes) -> Document:
        """From the results ``md`` and ``json`` of the job."""
        body = json.loads(data)
        return cls(job, markdown.decode(), tuple(map(Page.from_json, body["pages"])), body)

    @property
    def faults(self) -> tuple[PageState, ...]:
        """The pages that failed or are degraded, and why."""
        return self.job.faults

    def save(self, folder: str | Path) -> Path:
        """Write ``NAME.md`` and ``NAME.json`` into the folder, which is made if need be; the first one's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{Path(self.job.filename).stem}.md"
        path.write_text(self.markdown, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(self.data, ensure_ascii=False), encoding="utf-8")
        return path

    def __str__(self) -> str:
        return self.markdown


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many files: a document, or the error that it alone met."""

    source: str | Path | bytes
    document: Document | None
    error: Exception | None
