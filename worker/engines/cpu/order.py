"""Reading order: columns are found by their gutters, and read one after the other between the lines that span them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from worker.engines.cpu.lines import Line, Row, line_height, rows

DEPTH = 4
LONG_TEXT = 12


@dataclass(frozen=True, slots=True)
class Column:
    """Rows that are read downwards, and how far the column reaches to either side."""

    rows: tuple[Row, ...]
    x0: float
    x1: float


def columns(lines: list[Line]) -> list[Column]:
    """All lines in reading order, column by column."""
    return split(lines, line_height(lines), 0) if lines else []


def as_column(lines: list[Line], bounds: list[Line]) -> list[Column]:
    if not lines:
        return []
    left, right = min(line.x0 for line in bounds), max(line.x1 for line in bounds)
    return [Column(tuple(rows(lines)), left, right)]


def split(lines: list[Line], height: float, depth: int) -> list[Column]:
    x = gutter(lines, height) if depth < DEPTH else None
    if x is None:
        return as_column(lines, lines)
    slack = 0.2 * height
    spanning = sorted((line for line in lines if line.x0 < x - slack and line.x1 > x + slack), key=lambda s: s.middle)
    rest = [line for line in lines if not (line.x0 < x - slack and line.x1 > x + slack)]
    return [part for band in bands(rest, spanning) for part in read_band(band, lines, x, height, depth)]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the page: either lines across the gutter, or what lies on both sides of it."""

    lines: list[Line]
    across: bool


def bands(rest: list[Line], spanning: list[Line]) -> list[Band]:
    """The page from top to bottom, cut at every line that crosses the gutter."""
    found: list[Band] = []
    top = float("-inf")
    for line in [*spanning, None]:
        bottom = line.middle if line else float("inf")
        between = [other for other in rest if top < other.middle <= bottom]
        if between:
            found.append(Band(between, across=False))
        if line and found and found[-1].across:
            found[-1].lines.append(line)
        elif line:
            found.append(Band([line], across=True))
        top = bottom
    return found


def read_band(band: Band, everything: list[Line], x: float, height: float, depth: int) -> list[Column]:
    if band.across:
        return as_column(band.lines, everything)
    if len(band.lines) <= 3:  # too little to be columns: a line in parts
        return as_column(band.lines, everything)
    left = [line for line in band.lines if line.centre < x]
    right = [line for line in band.lines if line.centre >= x]
    return split(left, height, depth + 1) + split(right, height, depth + 1)


def gutter(lines: list[Line], height: float) -> float | None:
    """The x that few lines cross, with text that looks like columns on both sides; None if there is none."""
    left, right = min((line.x0 for line in lines), default=0.0), max((line.x1 for line in lines), default=0.0)
    if len(lines) < 6 or right - left < 12 * height:
        return None
    places = (left + (right - left) * percent / 100 for percent in range(15, 86))
    scored = [(score, x) for x in places if (score := badness(lines, x, height)) is not None]
    return min(scored)[1] if scored else None


def badness(lines: list[Line], x: float, height: float) -> float | None:
    """How bad a gutter at x would be (lower is better), or None where it cannot be one."""
    slack = 0.2 * height
    before = [line for line in lines if line.x1 <= x + slack]
    after = [line for line in lines if line.x0 >= x - slack]
    crossing = len(lines) - len(before) - len(after)
    if len(before) < 3 or len(after) < 3 or crossing > 0.45 * len(lines):
        return None
    prose = (is_prose(before), is_prose(after))
    clean = crossing <= 0.06 * len(lines) and min(len(before), len(after)) >= 8
    if not (all(prose) or (any(prose) and clean)):
        return None
    ends, starts = sorted(line.x1 for line in before), sorted(line.x0 for line in after)
    gap = starts[int(len(starts) * 0.05)] - ends[int(len(ends) * 0.95)]
    return crossing / len(lines) - min(2.0, gap / height) * 0.05


def is_prose(lines: list[Line]) -> bool:
    """Lines that are long, in characters and beside their column: text that runs on, not the cells of a table."""
    column = max(line.x1 for line in lines) - min(line.x0 for line in lines)
    widths = sorted(line.width for line in lines)
    return widths[int(len(widths) * 0.6)] > 0.55 * column and median(len(line.text) for line in lines) >= LONG_TEXT
