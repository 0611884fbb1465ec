"""Program text: letters of one width, and the signs that programs are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from worker.engines.cpu.lines import Row

_SIGNS = re.compile(r"[{};=]|::|<-|->|\(\)|\w\(|//|^#\w|^[$#>] |\[\[|^\s*</?\w")
_BACKTICKS = re.compile("`+")
LEAST_ROWS = 2
LEAST_CHARACTERS = 6
TOLERANCE = 1.2
"""Letters by which a row may be longer or shorter than its characters times the usual width."""

SHARE = 0.5


def letter_width(row: Row) -> float | None:
    """Pixels per character of the longest piece; None where it is too short to say."""
    piece = max(row.pieces, key=lambda piece: len(piece.text))
    return piece.width / len(piece.text) if len(piece.text) >= LEAST_CHARACTERS else None


def is_even(row: Row, letter: float) -> bool:
    """Prose, whose letters differ in width, is some letters off in every long row."""
    piece = max(row.pieces, key=lambda piece: len(piece.text))
    return abs(piece.width - letter * len(piece.text)) <= TOLERANCE * letter


def is_code(rows: Sequence[Row]) -> bool:
    """Whether rows that follow each other are program text."""
    widths = [width for row in rows if (width := letter_width(row))]
    if len(rows) < LEAST_ROWS or len(widths) < LEAST_ROWS:
        return False
    usual = median(widths)
    even = sum(is_even(row, usual) for row in rows if letter_width(row)) >= 0.9 * len(widths)
    signs = sum(any(_SIGNS.search(piece.text) for piece in row.pieces) for row in rows)
    return even and signs >= (SHARE if len(rows) > LEAST_ROWS else 1) * len(rows)


def has_signs(rows: Sequence[Row]) -> bool:
    return any(_SIGNS.search(piece.text) or piece.text in "{}()" for row in rows for piece in row.pieces)


def markdown(rows: Sequence[Row]) -> str:
    """A fenced block with the indentation that the places of the rows show, and its empty lines."""
    usual = median(width for row in rows if (width := letter_width(row)))
    left = min(row.x0 for row in rows)
    step = median(b.middle - a.middle for a, b in pairwise(rows))
    lines: list[str] = []
    for i, row in enumerate(rows):
        if i and row.middle - rows[i - 1].middle > 1.6 * step:
            lines.append("")
        lines.append(placed(row, left, usual))
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in _BACKTICKS.findall(line)), default=0))
    return "\n".join((fence, *lines, fence))


def placed(row: Row, left: float, letter: float) -> str:
    """The pieces of a row at the columns they stand in."""
    text = ""
    for piece in row.pieces:
        column = round((piece.x0 - left) / letter)
        text += " " * max(column - len(text), 1 if text else 0) + piece.text
    return text
