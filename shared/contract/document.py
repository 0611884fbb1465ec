"""The document: what becomes of an upload once its pages are read.

Boxes are pixels of the page image as the engine saw it (upright, after rendering), ``(x1, y1, x2, y2)`` with
``0 <= x1 < x2 <= width``. The same shapes travel through Redis, the HTTP API and the zip.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.contract.states import PageStatus as PageStatus

Box = tuple[int, int, int, int]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    # Unknown fields are passed over: during a rolling deploy two versions read each other's records.
    # An error about a record must not put its text into a log.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Reason(StrEnum):
    """Why a page is ``degraded``. An open vocabulary: readers show words that they do not know as they are."""

    UNREADABLE = "unreadable"  # writing was seen that gave no text
    UNSUPPORTED_SCRIPT = "unsupported-script"  # and it looks like a script that the recogniser does not know
    LOW_CONFIDENCE = "low-confidence"  # text that is probably wrong
    TOO_SMALL = "too-small"  # the writing has too few pixels, or the page was drawn with fewer than it holds
    DETECTOR_LIMIT = "detector-limit"  # more pieces of text than the engine takes from one page
    REPETITION = "repetition"  # the model went round in circles
    LENGTH = "length"  # the model's answer was cut off
    NOT_DRAWN = "not-drawn"  # in the file and not to be seen: damaged picture, missing font, value cut off
    XFA_FORM = "xfa-form"  # what the page holds is made by a program in the file, not drawn


class Shortfall(Frozen):
    """What is known to be lost of a page: why, and which share of its writing (0 to 1; 0: not known)."""

    reason: str
    missing: Share = 0.0


class PageBlock(Frozen):
    """A piece of the page in reading order.

    ``type`` is an open vocabulary; the words in use are DeepSeek-OCR's labels: ``title``, ``sub_title``, ``text``,
    ``list``, ``table``, ``image``, ``equation``, ``image_caption``, ``table_caption``, ``table_footnote``, ``header``,
    ``footer``, ``page_number``. ``text`` is Markdown (tables as Markdown or HTML).
    ``confidence``: how sure the engine is of the text, where it can say. ``edited``: a person corrected the text;
    ``original`` is then the engine's. Both are left out where nobody did.
    """

    type: str
    bbox: Box
    text: str
    edited: bool = Field(False, exclude_if=lambda value: not value)
    original: str | None = Field(None, exclude_if=lambda value: value is None)
    confidence: Share | None = None


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


class PageResult(Frozen):
    """One page's result. ``number`` is the document's own page number, from 1, and never changes.

    ``missing``: the share of its writing that a ``degraded`` page is without or has wrong; 0 where nobody can say.
    """

    number: Annotated[int, Field(ge=1)]
    status: PageStatus
    width: Natural = 0
    height: Natural = 0
    reason: str | None = None
    missing: Share = 0.0
    attempts: Annotated[int, Field(ge=1)] = 1
    markdown: str = ""
    blocks: tuple[PageBlock, ...] = ()
    figures: tuple[Figure, ...] = ()
    usage: Usage = Usage()


class DocumentResult(Frozen):
    job_id: str
    engine: str
    pages: tuple[PageResult, ...]


def figure_name(page: int, index: int) -> str:
    """Name of the ``index``-th figure (from 0) of a page: ``3_0.jpg``."""
    return f"{page}_{index}.jpg"
