"""Heads of tables whose cells are merged: one word over several columns, or one beside two rows of head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

from worker.engines.cpu.lines import Line, Row

HEAD_ROWS = 3
CLOSE = 0.75
"""Share of the usual step from row to row, below which a cell stands half-way between two rows of the head."""

OFF_CENTRE = 0.3
"""Column widths by which a word may miss the middle of the columns it spans."""

FEWEST_COLUMNS = 3
FEWEST_ROWS = 3
"""Rows below a merged head; with fewer nobody can say where the columns are."""

Extents = list[tuple[float, float]]


def levelled(table: Sequence[Row]) -> list[Row]:
    """The rows, where a cell of the head that spans two rows, and so stands between them, is on the lower one."""
    steps = [b.middle - a.middle for a, b in pairwise(table)]
    found = list(table)
    if len(found) <= FEWEST_ROWS:
        return found
    for i in range(min(HEAD_ROWS, len(found)) - 1):
        row, following = found[i], found[i + 1]
        if steps[i] < CLOSE * median(steps) and len(row.pieces) == 1 and is_left_of(row, following):
            merged = Row((*row.pieces, *following.pieces))
            return [*found[:i], merged, *found[i + 2 :]]
    return found


def is_left_of(row: Row, other: Row) -> bool:
    return len(other.pieces) > 1 and row.x1 < other.x0


def spanning(row: Row, columns: Extents) -> list[str] | None:
    """The cells of a row whose words each span as many columns, in the first of them; None if they do not.

    ``columns``: left and right edge of each, from the rows below. The first column may have a word of its own or none.
    """
    for labels in (1, 0):
        pieces = list(row.pieces)
        own = labels and pieces[0].centre < columns[0][1]
        words, rest = pieces[1:] if own else pieces, columns[labels:]
        if not words or len(words) == len(columns) or len(rest) < 2 * len(words) or len(rest) % len(words):
            continue
        size = len(rest) // len(words)
        groups = [rest[i : i + size] for i in range(0, len(rest), size)]
        if (labels or len(words) > 1) and all(map(is_centred, words, groups)):
            texts = [text for word in words for text in (word.text, *[""] * (size - 1))]
            return [pieces[0].text if own else "", *texts] if labels else texts
    return None


def is_centred(word: Line, columns: Extents) -> bool:
    """Whether a word stands in the middle of two columns or more, and not just over one."""
    centres = [(x0 + x1) / 2 for x0, x1 in columns]
    width = mean(b - a for a, b in pairwise(centres))
    return abs(word.centre - (columns[0][0] + columns[-1][1]) / 2) < OFF_CENTRE * width


def extents(rows: Sequence[Row], edges: Sequence[float]) -> Extents | None:
    """Where the text of each column begins and ends; None if one has none."""
    found: list[list[Line]] = [[] for _ in range(len(edges) + 1)]
    for piece in (piece for row in rows for piece in row.pieces):
        found[sum(edge < piece.centre for edge in edges)].append(piece)
    if not all(found):
        return None
    return [(min(piece.x0 for piece in own), max(piece.x1 for piece in own)) for own in found]
