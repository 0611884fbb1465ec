"""What a caller may leave out of a document's text, or have in it, once its pages have been read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.formats.pipe_tables import continued_rows
from shared.contract.document import PageBlock, PageResult

FURNITURE = frozenset({"header", "footer", "page_number"})
"""Kinds of blocks that stand on a page because it is a page."""

EDGE = 0.08
"""Share of a page's height at its top and foot in which a number alone is the page's, whatever its block's type."""

_NUMBER = re.compile(
    r"[-–—\s]*(?:(?:page|seite|p\.|s\.)\s*)?\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?[-–—\s]*", re.IGNORECASE
)
_MARKUP = re.compile(r"#|[|<>$]|[-*+] |\d+[.)] |!\[|```|\[\d+\] |    ")
_ENDS_OPEN = re.compile(r"(?:[^\W\d_]|[,;，、])$")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])-$")


@dataclass(frozen=True, slots=True)
class Layout:
    """``furniture``: keep running heads and page numbers. ``page_marks``: a comment before each page.

    ``join_pages``: paragraphs and tables that go on over a page break become one. The last two are the Markdown's
    alone.
    """

    furniture: bool = True
    page_marks: bool = False
    join_pages: bool = False


def text_of(page: PageResult, layout: Layout) -> str:
    """The page's Markdown, without line ends around it."""
    text = page.markdown.strip("\n")
    return text if layout.furniture else _without_furniture(text, page)


def _without_furniture(text: str, page: PageResult) -> str:
    paragraphs = text.split("\n\n")
    for block in page.blocks:
        if not block.text.strip() or not (block.type in FURNITURE or _is_page_number(block, page)):
            continue
        own = block.text.strip("\n").split("\n\n")
        at_foot = block.type == "footer" or block.bbox[1] > page.height / 2
        at = _last(paragraphs, own) if at_foot else _first(paragraphs, own)
        if at is not None:
            del paragraphs[at : at + len(own)]
    return "\n\n".join(paragraphs).strip("\n")


def _is_page_number(block: PageBlock, page: PageResult) -> bool:
    _, top, _, bottom = block.bbox
    at_edge = bottom < EDGE * page.height or top > (1 - EDGE) * page.height
    return at_edge and _NUMBER.fullmatch(block.text.strip()) is not None


def _first(paragraphs: list[str], wanted: list[str]) -> int | None:
    places = range(len(paragraphs) - len(wanted) + 1)
    return next((at for at in places if paragraphs[at : at + len(wanted)] == wanted), None)


def _last(paragraphs: list[str], wanted: list[str]) -> int | None:
    places = range(len(paragraphs) - len(wanted), -1, -1)
    return next((at for at in places if paragraphs[at : at + len(wanted)] == wanted), None)


def joint(before: str, after: str, mark: str = "") -> str | None:
    """``before`` and ``after`` as one text, if a paragraph or table goes on from one into the other.

    ``mark`` is put between, in a table into the first cell of the row that begins the page. A paragraph goes on if it
    ends in a word or a comma and the next begins with a small letter; a hyphen at its end was put there by the printer.
    """
    last, first = before.rpartition("\n\n")[2], after.partition("\n\n")[0]
    if (body := continued_rows(last, first)) is not None:
        rows = body.replace("|", f"| {mark}", 1) if mark else body
        return f"{before}\n{rows}{after[len(first) :]}"
    if not last or not first or not first[0].islower() or _MARKUP.match(last) or _MARKUP.match(first):
        return None
    if _HYPHENATED.search(last):
        word, space, rest = after.partition(" ")
        return f"{before[:-1]}{word}{space}{f'{mark} ' if mark else ''}{rest}"
    return f"{before} {f'{mark} ' if mark else ''}{after}" if _ENDS_OPEN.search(last) else None
