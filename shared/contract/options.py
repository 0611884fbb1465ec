"""The options of a submission, checked once, by the gateway."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from shared.contract.document import Frozen
from shared.contract.states import DocumentedEnum


class ReadType(StrEnum):
    """``document``: a page to be laid out again as Markdown. ``image``: any other picture with text in it."""

    DOCUMENT = "document"
    IMAGE = "image"


class ModeName(StrEnum):
    """DeepSeek-OCR's resolution modes; other engines ignore them and say so in ``/models``."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"
    LARGE = "large"
    GUNDAM = "gundam"


class Priority(DocumentedEnum):
    """Which queue a job waits in, and how many turns its pages get in a worker."""

    HIGH = "high", "Claimed first; sixteen pages for each of a low job."
    NORMAL = "normal", "Four pages for each of a low job."
    LOW = "low", "Claimed last; never starved."


class TextLayer(StrEnum):
    """``ignore``: every page is read from its picture. ``prefer``: a born-digital PDF page gives its own text."""

    IGNORE = "ignore"
    PREFER = "prefer"


class TableFormat(StrEnum):
    """``markdown``: pipes for rectangular tables without spans, HTML for the others. ``html``: HTML for all."""

    MARKDOWN = "markdown"
    HTML = "html"


class MathFormat(StrEnum):
    r"""``dollars``: ``$`` and ``$$``, which most viewers read. ``brackets``: ``\(`` and ``\[``."""

    DOLLARS = "dollars"
    BRACKETS = "brackets"


class Options(Frozen):
    """How the pages of one job are to be read, and how its Markdown is to be written. Stored with the job, echoed back.

    ``table``, ``math`` and ``clean`` are decided while a page is read, by the engines that know them (``clean``: take
    out the space that a model writes after a hyphen). ``languages``: ISO 639-1 codes of what is written on the pages,
    where that is none that the engine reads anyway. The last three can be decided anew for every result.
    """

    type: ReadType = ReadType.DOCUMENT
    mode: ModeName | None = None
    prompt: str | None = None
    priority: Priority = Priority.NORMAL
    text_layer: TextLayer = TextLayer.IGNORE
    table: TableFormat = TableFormat.MARKDOWN
    math: MathFormat = MathFormat.DOLLARS
    clean: bool = True
    languages: tuple[str, ...] = ()
    furniture: bool = True
    page_marks: bool = False
    join_pages: bool = False


DECIDED_LATER: Final = frozenset({"priority", "furniture", "page_marks", "join_pages"})
"""The options that change nothing of what is read and stored."""
