"""A page that brings its own text: the PDF's text layer, put in order, joined and escaped like text that was read."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from shared.contract.document import Box, PageBlock
from worker.engines.base import PageImage, PageRead, TextPiece
from worker.engines.cpu.joining import row_text, run_on, vocabulary
from worker.engines.cpu.lines import Line, Row, union
from worker.engines.cpu.paragraphs import ParagraphPart, parts
from worker.engines.cpu.reading_order import columns
from worker.engines.escape import escaped

LARGE = 1.35
"""A row this many times as high as the page's usual one is a heading."""

TITLE_CHARACTERS = 90


def from_text_layer(page: PageImage) -> PageRead | None:
    """What the page's own text says, in reading order, with the place of every block; None without such text."""
    if not page.text_layer:
        return None
    lines = [line_of(piece) for piece in page.text_layer]
    known = vocabulary([line.text for line in lines])
    usual = median(line.height for line in lines)
    found = [part for column in columns(lines) for part in _parts(column.rows, known, usual)]
    blocks = tuple(_block(part, page.image.size) for part in found)
    return PageRead("\n\n".join(block.text for block in blocks), blocks) if blocks else None


def line_of(piece: TextPiece) -> Line:
    return Line(*piece.box, piece.text, piece.box)


def _parts(rows: Sequence[Row], known: frozenset[str], usual: float) -> list[ParagraphPart]:
    """Paragraphs and lists between the headings."""
    found: list[ParagraphPart] = []
    some: list[Row] = []
    for row in rows:
        if not _is_title(row, usual):
            some.append(row)
            continue
        found += parts(some, known) if some else []
        some = []
        found = _with_title(found, row, known)
    return found + (parts(some, known) if some else [])


def _is_title(row: Row, usual: float) -> bool:
    text = row_text(row)
    return row.height > LARGE * usual and len(text) <= TITLE_CHARACTERS and any(sign.isalpha() for sign in text)


def _with_title(found: list[ParagraphPart], row: Row, known: frozenset[str]) -> list[ParagraphPart]:
    """A heading of its own, or the next line of the one before it."""
    above = found[-1] if found and found[-1].kind == "title" else None
    if above is not None and row.y0 - above.rows[-1].y1 < 0.5 * row.height:
        return [
            *found[:-1],
            ParagraphPart("title", (*above.rows, row), run_on(above.text, escaped(row_text(row)), known)),
        ]
    return [*found, ParagraphPart("title", (row,), "# " + escaped(row_text(row)))]


def _block(part: ParagraphPart, size: tuple[int, int]) -> PageBlock:
    left, top, right, bottom = union(piece.box for row in part.rows for piece in row.pieces)
    x0, y0 = min(max(0, int(left)), size[0] - 1), min(max(0, int(top)), size[1] - 1)
    box: Box = (x0, y0, max(x0 + 1, min(size[0], round(right))), max(y0 + 1, min(size[1], round(bottom))))
    return PageBlock(type=part.kind, bbox=box, text=part.text)
