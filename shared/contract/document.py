"""The document: what becomes of an upload once its pages are read.

Boxes are pixels of the page image as the engine saw it (upright, after rendering), ``(x1, y1, x2, y2)`` with
``0 <= x1 < x2 <= width``. The same shapes travel through Redis, the HTTP API and the zip.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.contract.states import PageStatus as PageStatus

Box = tuple[int, int, int, int]
Natural = Annotated[int, Field(ge=0)]


class Frozen(BaseModel):
    # Unknown fields are passed over: during a rolling deploy two versions read each other's records.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Block(Frozen):
    """A piece of the page in reading order.

    ``type`` is an open vocabulary; the words in use are DeepSeek-OCR's labels: ``title``, ``sub_title``, ``text``,
    ``list``, ``table``, ``image``, ``equation``, ``image_caption``, ``table_caption``, ``table_footnote``, ``header``,
    ``footer``, ``page_number``. ``text`` is Markdown (tables as Markdown or HTML).
    """

    type: str
    bbox: Box
    text: str


class Figure(Frozen):
    """A picture cut out of the page; the Markdown refers to it as ``images/<name>``, name = ``<page>_<i>.jpg``."""

    name: str
    bbox: Box


class Usage(Frozen):
    prompt_tokens: Natural = 0
    completion_tokens: Natural = 0
    engine_seconds: Annotated[float, Field(ge=0)] = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            engine_seconds=self.engine_seconds + other.engine_seconds,
        )


class Page(Frozen):
    """One page's result. ``number`` is the document's own page number, from 1, and never changes."""

    number: Annotated[int, Field(ge=1)]
    status: PageStatus
    width: Natural = 0
    height: Natural = 0
    reason: str | None = None
    attempts: Annotated[int, Field(ge=1)] = 1
    markdown: str = ""
    blocks: tuple[Block, ...] = ()
    figures: tuple[Figure, ...] = ()
    usage: Usage = Usage()


class Document(Frozen):
    job_id: str
    engine: str
    pages: tuple[Page, ...]


def figure_name(page: int, index: int) -> str:
    """Name of the ``index``-th figure (from 0) of a page: ``3_0.jpg``."""
    return f"{page}_{index}.jpg"
