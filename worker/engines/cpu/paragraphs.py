"""Rows of one column become titles, paragraphs, lists and code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from worker.engines.cpu import code, tables
from worker.engines.cpu.joining import row_text, run_on
from worker.engines.cpu.lines import Row
from worker.engines.escape import escaped

BULLETS = "•·∙●○◦▪■□◆◇►▸‣⁃"
_BULLET = re.compile(rf"^[{BULLETS}]\s*(?=\S)")
_DASH = re.compile(r"^[-–—*]\s+(?=\S)")
_MINUS = re.compile(r"^[-–—+]\s*(?=[\d.,])")
_CHECKBOX = re.compile(r"^\[[ x]\]\s")
_NUMBER = re.compile(r"^(\d{1,3})([.)])\s+(?=\S)")
_OUTLINE = re.compile(r"^\d{1,2}(\.\d{1,2})+\.?\s+(?=\S)")
_LETTER = re.compile(r"^(\([a-z0-9]{1,4}\)|[a-z]\))\s+(?=\S)")
_PAGE_NUMBER = re.compile(r"^([-–—]?\s*\d{1,4}\s*[-–—]?|[ivxlc]{1,6}|page\s+\d+.*|\d+\s+of\s+\d+|\d+\s*/\s*\d+)$", re.I)
HARD_BREAK = "  \n"
NEAR = 0.75
"""Line heights of white that may lie between two lines of a paragraph, double spacing included."""

NARROW = 0.5
"""Lines that fill less than this of their column were ended by the writer, not by the margin."""

TABLE_ROWS = 3


@dataclass(frozen=True, slots=True)
class ParagraphPart:
    """Rows that make one block, and its Markdown."""

    kind: str
    rows: tuple[Row, ...]
    text: str


def is_page_number(text: str) -> bool:
    return bool(_PAGE_NUMBER.match(text.strip()))


def starts_item(row: Row, after: Row | None, *, ended: bool, listed: bool, dashed: bool) -> bool:
    """Whether a row begins a list item. Dashes and numbers may also begin a line by chance, within a sentence.

    A dash before a number is a minus, unless others of the list (``dashed``) stand before words.
    """
    text = row_text(row)
    if _BULLET.match(text) or _CHECKBOX.match(text):
        return True
    if _MINUS.match(text) and not dashed:
        return False
    marked = bool(_DASH.match(text) or _NUMBER.match(text) or _LETTER.match(text) or _OUTLINE.match(text))
    return marked and (after is None or ended or listed)


def usual_gap(rows: Sequence[Row]) -> float:
    """Pixels between a row and the next of the same paragraph."""
    gaps = [b.y0 - a.y1 for a, b in pairwise(rows)]
    near = [gap for gap, row in zip(gaps, rows, strict=False) if gap < NEAR * row.height]
    return median(near) if near else 0.0


def runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that are set solid: cut where there is more room than usual between two."""
    usual = usual_gap(rows)
    found: list[list[Row]] = []
    for row in rows:
        last = found[-1][-1] if found else None
        if last and row.y0 - last.y1 <= usual + 0.45 * min(row.height, last.height):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def ends_early(row: Row, following: Row, right: float) -> bool:
    """Whether the next row's first word would still have fitted: the writer ended the line."""
    text = row_text(following)
    letter = (following.x1 - following.x0) / max(1, len(text))
    first = text.split(" ", 1)[0]
    return right - row.x1 > (len(first) + 1.5) * letter


@dataclass(frozen=True, slots=True)
class Piece:
    """A paragraph or a list item on its way: its rows, and whether each begins a line of its own."""

    item: bool
    rows: list[Row]
    broken: list[bool]


def right_edge(run: Sequence[Row], column: float) -> float:
    """The x up to which lines are filled: the run's own right edge, or the column's if the run is much narrower."""
    left, right = min(row.x0 for row in run), max(row.x1 for row in run)
    return column if right - left < NARROW * (column - left) else right


def pieces(run: Sequence[Row], *, listed: bool, column: float) -> list[Piece]:
    """A run cut at list items, at indented first lines, and after lines that end early and with a full stop."""
    right = right_edge(run, column)
    dashed = any(_DASH.match(text) and not _MINUS.match(text) for text in map(row_text, run))
    found: list[Piece] = []
    for i, row in enumerate(run):
        before = run[i - 1] if i else None
        ended = before is not None and (row.is_apart or before.is_apart or ends_early(before, row, right))
        in_list = found[-1].item if found else listed
        begins = starts_item(row, before, ended=ended, listed=in_list, dashed=dashed)
        if begins or (ended and in_list and has_lost_bullet(row, found)):
            found.append(Piece(True, [row], [False]))
        elif before is None or leaves(row, before, found[-1], ended=ended):
            found.append(Piece(False, [row], [False]))
        else:
            found[-1].rows.append(row)
            found[-1].broken.append(ended)
    return found


def has_lost_bullet(row: Row, found: Sequence[Piece]) -> bool:
    """Whether a row is an item whose bullet was not seen: it stands where the item above it stands.

    Numbers and letters are always seen. Where an item's further lines stand below its first, the place says nothing.
    """
    if not found or row_text(row)[:1].islower():
        return False
    item = found[-1].rows
    if any(_NUMBER.match(text) or _LETTER.match(text) for text in (row_text(piece.rows[0]) for piece in found)):
        return False
    hangs = any(abs(other.x0 - item[0].x0) < 0.3 * row.height for other in item[1:])
    return not hangs and abs(row.x0 - item[0].x0) < 1.5 * row.height


def leaves(row: Row, before: Row, piece: Piece, *, ended: bool) -> bool:
    """Whether a row begins a new paragraph."""
    step = row.x0 - before.x0
    if piece.item:
        return step < -0.3 * row.height and row.x0 < piece.rows[0].x0 + 0.3 * row.height and ended
    stopped = ended and row_text(before).endswith((".", "!", "?", ":", "。"))
    indented = 0.7 * row.height < step < 6 * row.height and len(piece.rows) > 1
    return stopped or indented


def parts(rows: Sequence[Row], known: frozenset[str], column: float = 0.0) -> list[ParagraphPart]:
    """The blocks of a column without titles, figures and the tables that the layout model saw.

    ``column``: the x at which the column ends on the right, as far as that is known.
    """
    found: list[ParagraphPart] = []
    for stretch in code_or_text(rows):
        if code.is_code(stretch):
            found.append(ParagraphPart("code", tuple(stretch), code.markdown(stretch)))
        else:
            found.extend(tables_and_prose(stretch, known, column))
    return found


def tables_and_prose(rows: Sequence[Row], known: frozenset[str], column: float) -> list[ParagraphPart]:
    """Rows that fall apart into cells, three or more in a row, are a table."""
    found: list[ParagraphPart] = []
    waiting: list[Row] = []
    for apart, some in cell_rows(rows):
        if apart and len(some) >= TABLE_ROWS and (cells := tables.small_table(some)):
            found.extend(prose(waiting, known, column))
            found.append(ParagraphPart("table", tuple(some), tables.markdown(cells)))
            waiting = []
        else:
            waiting.extend(some)
    return [*found, *prose(waiting, known, column)]


def cell_rows(rows: Sequence[Row]) -> list[tuple[bool, list[Row]]]:
    """Rows in groups: those that fall apart into cells, with the further lines of their cells, and the others."""
    found: list[tuple[bool, list[Row]]] = []
    for row in rows:
        apart = row.is_apart
        if not apart and found and found[-1][0]:
            last = found[-1][1][-1]
            apart = row.x0 > found[-1][1][0].x0 + 2 * row.height and row.y0 - last.y1 < 0.5 * row.height
        if found and found[-1][0] == apart:
            found[-1][1].append(row)
        else:
            found.append((apart, [row]))
    return found


def code_or_text(rows: Sequence[Row]) -> list[list[Row]]:
    """Runs, where runs of program text that follow each other are one."""
    found: list[list[Row]] = []
    for run in runs(rows):
        if found and code.is_code(found[-1]) and run[0].y0 - found[-1][-1].y1 < 3 * run[0].height:
            joined = [*found[-1], *run]
            if code.is_code(joined) and code.has_signs(run):
                found[-1] = joined
                continue
        found.append(run)
    return merged_text(found)


def merged_text(stretches: list[list[Row]]) -> list[list[Row]]:
    """Runs of prose that follow each other, together again: the usual gap is that of all of them."""
    found: list[list[Row]] = []
    for stretch in stretches:
        if found and not code.is_code(stretch) and not code.is_code(found[-1]):
            found[-1] = [*found[-1], *stretch]
        else:
            found.append(list(stretch))
    return found


def prose(rows: Sequence[Row], known: frozenset[str], column: float) -> list[ParagraphPart]:
    found: list[ParagraphPart] = []
    items: list[Piece] = []
    for run in runs(rows):
        for piece in pieces(run, listed=bool(items), column=column):
            if piece.item:
                items.append(piece)
                continue
            if items:
                found.append(as_list(items, known))
                items = []
            found.append(ParagraphPart("text", tuple(piece.rows), flowing(piece, known)))
    return [*found, as_list(items, known)] if items else found


def flowing(piece: Piece, known: frozenset[str]) -> str:
    """The rows of a paragraph as running text, with line breaks where the writer made them."""
    lines: list[str] = []
    for row, broken in zip(piece.rows, piece.broken, strict=True):
        text = row_text(row)
        if lines and not broken:
            lines[-1] = run_on(lines[-1], text, known)
        else:
            lines.append(text)
    return HARD_BREAK.join(escaped(line) for line in lines)


def as_list(items: Sequence[Piece], known: frozenset[str]) -> ParagraphPart:
    first = row_text(items[0].rows[0])
    if len(items) == 1 and (number := _NUMBER.match(first)) and number.group(1) != "1":
        # "12. March 2024", "1986. A great year": one number is no list.
        return ParagraphPart("text", tuple(items[0].rows), flowing(items[0], known))
    depths = nesting([item.rows[0] for item in items])
    texts = [item_text(item, depth, known) for item, depth in zip(items, depths, strict=True)]
    return ParagraphPart("list", tuple(row for item in items for row in item.rows), "\n".join(texts))


def nesting(rows: Sequence[Row]) -> list[int]:
    """How deep each item is, by where it begins."""
    stack: list[float] = []
    depths: list[int] = []
    for row in rows:
        while stack and row.x0 < stack[-1] - 0.7 * row.height:
            stack.pop()
        if not stack or row.x0 > stack[-1] + 0.9 * row.height:
            stack.append(row.x0)
        depths.append(len(stack) - 1)
    return depths


def item_text(item: Piece, depth: int, known: frozenset[str]) -> str:
    first = row_text(item.rows[0])
    number = _NUMBER.match(first)
    bullet = _BULLET.match(first) or _DASH.match(first) or number
    marker = f"{number.group(1)}{number.group(2)}" if number else "-"
    text = first[bullet.end() :] if bullet else first
    for row in item.rows[1:]:
        text = run_on(text, row_text(row), known)
    return "   " * depth + f"{marker} {escaped(text)}"
