"""Tables from geometry alone: rows by height, columns by the gaps that hardly any row fills."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from worker.engines.cpu.joining import beside
from worker.engines.cpu.lines import Line, Row, line_height, rows
from worker.engines.escape import escaped

FILLED = 0.1
"""Share of the rows that may cross the gap between two columns: headings that span, long first cells."""

PARTED = 0.15
"""Share of the rows that a gap must part to be one between columns."""

PROSE_CELL = 60

Cells = list[list[str]]


def separators(table: Sequence[Row], height: float) -> list[float]:
    """The x between the columns: the middles of the gaps that part the pieces of some rows at least."""
    full = [row for row in table if len(row.pieces) > 1]
    edges = sorted({edge for row in full for piece in row.pieces for edge in (piece.x0, piece.x1)})
    gaps: list[tuple[float, float]] = []
    for x0, x1 in pairwise(edges):
        if crossed(full, (x0 + x1) / 2) > FILLED * len(full):
            continue
        if gaps and gaps[-1][1] == x0:
            gaps[-1] = (gaps[-1][0], x1)
        else:
            gaps.append((x0, x1))
    wide = [(x0 + x1) / 2 for x0, x1 in gaps if x1 - x0 > 0.1 * height]
    return [x for x in wide if parted(full, x) >= max(2, PARTED * len(full))]


def parted(table: Sequence[Row], x: float) -> int:
    """How many rows have pieces on both sides of x, and none across."""
    whole = [row for row in table if not any(piece.x0 < x < piece.x1 for piece in row.pieces)]
    return sum(row.x0 < x < row.pieces[-1].x1 for row in whole)


def crossed(table: Sequence[Row], x: float) -> int:
    return sum(any(piece.x0 < x < piece.x1 for piece in row.pieces) for row in table)


def cells(row: Row, edges: Sequence[float]) -> list[str]:
    """The row's texts by column; a piece over several columns goes to the one it begins in."""
    found = [""] * (len(edges) + 1)
    for piece in row.pieces:
        middle = min(piece.centre, piece.x0 + piece.height)
        column = sum(edge < middle for edge in edges)
        found[column] = beside(found[column], piece.text) if found[column] else piece.text
    return found


def grid(lines: Sequence[Line]) -> tuple[list[Row], Cells]:
    """The lines above the table proper (captions and sentences that the region caught too), and its cells."""
    table = rows(lines)
    first = next((i for i, row in enumerate(table) if len(row.pieces) > 1), len(table))
    before, body = table[:first], table[first:]
    if not body:
        return before, []
    edges = separators(body, line_height(lines))
    return before, [cells(row, edges) for row in body]


def is_table(cells: Cells) -> bool:
    """At least two rows and two columns, and rows that have more than one cell."""
    return len(cells) >= 2 and len(cells[0]) >= 2 and sum(sum(map(bool, row)) > 1 for row in cells) >= 2


def markdown(cells: Cells) -> str:
    """A pipe table; the first row is its head."""
    lines = ["| " + " | ".join(cell_text(cell) for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(cells[0]), *lines[1:]])


def cell_text(cell: str) -> str:
    return escaped(cell).replace("|", "\\|")


def small_table(table: Sequence[Row]) -> Cells | None:
    """The cells of rows that nobody marked as a table; None where they are columns of prose side by side."""
    pieces = [piece for row in table for piece in row.pieces]
    found = [cells(row, edges) for edges in [separators(table, line_height(pieces))] for row in table]
    if not is_table(found):
        return None
    wordy = [sorted(len(row[i]) for row in found)[len(found) // 2] > PROSE_CELL for i in range(len(found[0]))]
    return None if any(wordy) else found
