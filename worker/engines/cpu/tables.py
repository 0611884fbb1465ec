"""Tables from geometry alone: rows by height, columns by the gaps that hardly any row fills."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from worker.engines.cpu.joining import beside
from worker.engines.cpu.lines import Line, Row, line_height, rows
from worker.engines.cpu.table_heads import FEWEST_COLUMNS, FEWEST_ROWS, extents, levelled, spanning
from worker.engines.escape import escaped

FILLED = 0.1
"""Share of the rows that may cross the gap between two columns: headings that span, long first cells."""

PARTED = 0.15
"""Share of the rows that a gap must part to be one between columns."""

PROSE_CELL = 60
RUNNING_CELL = 18

_LEADER, _DOTS = re.compile(r"[.…·]{2,}\s*$"), re.compile(r"[\s.…·]+$")
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
    height = line_height(lines)
    if first and merged_head(table[first - 1 :], height):
        first -= 1
    before, body = table[:first], table[first:]
    if not body:
        return before, []
    return before, table_cells(body, height)


def table_cells(table: Sequence[Row], height: float) -> Cells:
    """The cells of rows, those of several lines put together again; words over several columns stand in the first."""
    table = levelled(table)
    head = merged_head(table, height)
    return without_leaders([*head, *body_cells(table[len(head) :], height)])


def merged_head(table: Sequence[Row], height: float) -> Cells:
    """The cells of the first row, if they are merged over several columns of the others; else nothing."""
    body = table[1:]
    if len(body) < FEWEST_ROWS or body[0].y0 - table[0].y1 > 2 * height:
        return []
    edges = separators(body, height)
    columns = extents(body, edges)
    if columns is None or len(columns) < FEWEST_COLUMNS:
        return []
    texts = spanning(table[0], columns)
    return [texts] if texts else []


def body_cells(table: Sequence[Row], height: float) -> Cells:
    edges = separators(table, height)
    texts = [cells(row, edges) for row in table]
    gaps = [b.y0 - a.y1 for a, b in pairwise(table)]
    usual = median(gaps) if gaps else 0.0
    found: Cells = []
    close = float("-inf")  # a gap up to which rows are further lines of the cells above, whatever they say
    for i, row in enumerate(texts):
        first = i > 0 and begun(texts, gaps, i - 1, height)
        if first:
            close = gaps[i - 1] + 0.5 * height
        limit = max(usual - 0.3 * height, close)
        if i > 0 and (
            first or is_beside(texts[i - 1], row, gaps[i - 1], height) or continues(row, found[-1], gaps[i - 1], limit)
        ):
            found[-1] = [beside(a, b) if a and b else a or b for a, b in zip(found[-1], row, strict=True)]
        else:
            found.append(row)
            close = float("-inf")
    return found


def is_beside(before: Sequence[str], row: Sequence[str], gap: float, height: float) -> bool:
    """Whether two rows are one, with cells of one line centred beside a cell of several: they share some height."""
    label, lines = (before, row) if before[0] else (row, before)
    apart = not any(a and b for a, b in zip(label, lines, strict=True))
    wordy = all(any(c.isalpha() for c in text) for text in lines if text)
    return (
        gap < -0.15 * height and apart and wordy and bool(label[0]) and sum(map(bool, lines)) <= sum(map(bool, label))
    )


def begun(texts: Cells, gaps: Sequence[float], i: int, height: float) -> bool:
    """Whether row ``i`` is the first line of cells that go on in the next row, the others being centred beside them."""
    row, following = texts[i], texts[i + 1]
    filled = [column for column, text in enumerate(row) if text]
    if i == 0 or not filled or filled[0] == 0 or not following[0] or any(not following[column] for column in filled):
        return False
    wordy = all(any(c.isalpha() for c in row[column]) for column in filled)
    return wordy and sum(map(bool, following)) > len(filled) and gaps[i] < gaps[i - 1] - 0.3 * height


def continues(texts: Sequence[str], above: Sequence[str], gap: float, close: float) -> bool:
    """Whether a row is more lines of the cells above it: less than ``close`` apart, or going on in lower case."""
    filled = [i for i, text in enumerate(texts) if text]
    if not filled or len(filled) == len(texts) or any(not above[i] for i in filled):
        return False
    if filled[0] == 0 and len(filled) > 1:
        return False
    if any(not any(c.isalpha() for c in texts[i]) for i in filled):
        return False
    return gap < close or all(texts[i][0].islower() for i in filled)


def without_leaders(table: Cells) -> Cells:
    """Contents: the dots that lead from a heading to its page are no part of it."""
    found = [list(row) for row in table]
    for i in range(len(table[0]) - 1 if table else 0):
        numbers = sum(row[i + 1].strip().isdigit() for row in table)
        dotted = sum(bool(_LEADER.search(row[i])) for row in table)
        if numbers >= 0.6 * len(table) and dotted >= 0.4 * len(table):
            for row in found:
                row[i] = _DOTS.sub("", row[i])
    return found


def is_table(cells: Cells) -> bool:
    """At least two rows and two columns, rows that have more than one cell, and no columns of prose side by side."""
    wide = len(cells) >= 2 and len(cells[0]) >= 2 and sum(sum(map(bool, row)) > 1 for row in cells) >= 2
    return wide and sum(runs_on([row[i] for row in cells]) for i in range(len(cells[0]))) < 2


def runs_on(column: Sequence[str]) -> bool:
    """Whether the cells of a column are the lines of one text: long, and going on in lower case in the next row."""
    pairs = [(a, b) for a, b in pairwise(column) if a and b]
    if len(pairs) < 0.7 * (len(column) - 1) or len(pairs) < 3 or median(map(len, column)) < RUNNING_CELL:
        return False
    return sum(b[0].islower() and a[-1] not in ".:;!?" for a, b in pairs) >= 0.6 * len(pairs)


def markdown(cells: Cells) -> str:
    """A pipe table; the first row is its head."""
    lines = ["| " + " | ".join(cell_text(cell) for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(cells[0]), *lines[1:]])


def cell_text(cell: str) -> str:
    return escaped(cell).replace("|", "\\|")


def small_table(table: Sequence[Row]) -> Cells | None:
    """The cells of rows that nobody marked as a table; None where they are columns of prose side by side."""
    pieces = [piece for row in table for piece in row.pieces]
    found = table_cells(table, line_height(pieces))
    if not is_table(found):
        return None
    wordy = [sorted(len(row[i]) for row in found)[len(found) // 2] > PROSE_CELL for i in range(len(found[0]))]
    return None if any(wordy) else found
