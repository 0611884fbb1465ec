"""Reading order: columns are found by their gutters, and read one after the other between the lines that span them.

Values that stand beside their words (price lists, contents, data sheets) are no column of their own: their lines are
level with the words' lines, which those of two columns of different text are by chance only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from worker.engines.cpu.lines import Line, Row, line_height, rows

DEPTH = 4
LONG_TEXT = 12
EMPTY = 2.0
HEADING_GAP = 0.8
"""Line heights of white that part a heading from the columns below it."""

PAIRED = 0.75
"""Share of the shorter side's lines that are level with one of the other side, from which both are rows of a list."""

RUNNING = 0.15
"""Share of a column's lines that go on in the next one, from which it is running text."""

SHIFTED = 0.1
"""Share of the lines that may cross a gutter before the page is searched for parts with gutters of their own."""


@dataclass(frozen=True, slots=True)
class Column:
    """Rows that are read downwards."""

    rows: tuple[Row, ...]


def columns(lines: list[Line]) -> list[Column]:
    """All lines in reading order, column by column."""
    return split(lines, line_height(lines), 0) if lines else []


def as_column(lines: list[Line]) -> list[Column]:
    return [Column(tuple(rows(lines)))] if lines else []


def split(lines: list[Line], height: float, depth: int) -> list[Column]:
    x = gutter(lines, height) if depth < DEPTH else None
    if depth < DEPTH and (parts := headed(lines, height)):
        return as_column(parts[0]) + split(parts[1], height, depth)
    if depth < DEPTH and (parts := shifted(lines, x, height)):
        return [column for part in parts for column in split(part, height, depth + 1)]
    if x is None:
        return stacked(lines, height, depth)
    slack = 0.2 * height
    across = [line for line in lines if crosses(line, x, slack)]
    sides = [line for line in lines if not crosses(line, x, slack)]
    return [part for band in bands(sides, across, x, height) for part in read_band(band, x, height, depth)]


def crosses(line: Line, x: float, slack: float) -> bool:
    return line.x0 < x - slack and line.x1 > x + slack


def headed(lines: list[Line], height: float) -> list[list[Line]]:
    """A heading, and the columns it spans: it may begin right of the first gutter and would end inside a column."""
    stretches = parted(lines, height, HEADING_GAP)
    if len(stretches) < 2 or len(rows(stretches[0])) > 3:
        return []
    rest = [line for stretch in stretches[1:] for line in stretch]
    edges = gutters(rest, height)
    spans = any(crosses(line, x, 0.2 * height) for line in stretches[0] for x in edges)
    return [stretches[0], rest] if spans else []


def gutters(lines: list[Line], height: float, depth: int = 2) -> list[float]:
    """Every gutter, those inside columns too."""
    x = gutter(lines, height) if depth >= 0 else None
    if x is None:
        return []
    left, right = [line for line in lines if line.centre < x], [line for line in lines if line.centre >= x]
    return [x, *gutters(left, height, depth - 1), *gutters(right, height, depth - 1)]


def shifted(lines: list[Line], x: float | None, height: float) -> list[list[Line]]:
    """The lines cut in two where the gutter above is not the one below; empty where one gutter will do.

    Only the widest gaps are tried.
    """
    if len(lines) < 12 or (
        x is not None and sum(crosses(line, x, 0.2 * height) for line in lines) < SHIFTED * len(lines)
    ):
        return []
    ordered = sorted(lines, key=lambda line: line.y0)
    gaps: list[tuple[float, int]] = []
    bottom = ordered[0].y1
    for i, line in enumerate(ordered):
        if i and line.y0 - bottom > 0.3 * height:
            gaps.append((line.y0 - bottom, i))
        bottom = max(bottom, line.y1)
    for _, i in sorted(gaps, reverse=True)[:12]:
        above, below = gutter(ordered[:i], height), gutter(ordered[i:], height)
        if above is None or below is None or abs(above - below) < 2 * height:
            continue
        if all(is_clean(part, at, height) for part, at in ((ordered[:i], above), (ordered[i:], below))):
            return [ordered[:i], ordered[i:]]
    return []


def is_clean(lines: list[Line], x: float, height: float) -> bool:
    """Whether hardly a line crosses a gutter."""
    return sum(crosses(line, x, 0.2 * height) for line in lines) <= 1 + 0.06 * len(lines)


def stacked(lines: list[Line], height: float, depth: int) -> list[Column]:
    """No columns over the whole height; perhaps in one of the stretches that white space parts."""
    stretches = parted(lines, height) if depth < DEPTH else []
    found: list[Column] = []
    plain: list[Line] = []
    for stretch in stretches if len(stretches) > 1 else []:
        if gutter(stretch, height) is None:
            plain.extend(stretch)
        else:
            found.extend(as_column(plain) + split(stretch, height, depth + 1))
            plain = []
    return found + as_column(plain if len(stretches) > 1 else lines)


def parted(lines: list[Line], height: float, empty: float = EMPTY) -> list[list[Line]]:
    """The lines cut where more than ``empty`` line heights are white from side to side."""
    found: list[list[Line]] = []
    bottom = float("-inf")
    for line in sorted(lines, key=lambda line: line.y0):
        if line.y0 > bottom + empty * height:
            found.append([])
        found[-1].append(line)
        bottom = max(bottom, line.y1)
    return found


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the page: either lines across the gutter, or what lies on both sides of it."""

    lines: list[Line]
    across: bool


def bands(sides: list[Line], across: list[Line], x: float, height: float) -> list[Band]:
    """The page from top to bottom, cut at every line that crosses the gutter at ``x``."""
    found: list[Band] = []
    top = float("-inf")
    for line in [*sorted(across, key=lambda a: a.middle), None]:
        bottom = line.middle if line else float("inf")
        between = [other for other in sides if top < other.middle <= bottom]
        head, body, tail = trimmed(between, x, height, cut_above=bool(found), cut_below=line is not None)
        for band in (Band(head, True), Band(body, False), Band([*tail, line] if line else tail, True)):
            add(band, found)
        top = bottom
    return found


def add(band: Band, found: list[Band]) -> None:
    """Append a band; stretches across the gutter that follow each other are one."""
    if band.across and found and found[-1].across:
        found[-1].lines.extend(band.lines)
    elif band.lines:
        found.append(Band(list(band.lines), band.across))


def trimmed(
    lines: list[Line], x: float, height: float, *, cut_above: bool, cut_below: bool
) -> tuple[list[Line], list[Line], list[Line]]:
    """Head, body and tail of what lies between two lines across the gutter.

    Lines on the left that stand above everything on the right end the paragraph across; lines that stand below
    everything on the right, after a gap, begin the next one (a heading, the first line of a list).
    """
    left, right = [line for line in lines if line.centre < x], [line for line in lines if line.centre >= x]
    if not left or not right or len(lines) <= 3:  # too little to be columns: a line in parts
        return lines, [], []
    ceiling, floor = min(line.y0 for line in right), max(line.y1 for line in right)
    head = [line for line in left if line.y1 < ceiling + 0.2 * height] if cut_above else []
    tail = fallen(left, floor, height) if cut_below else []
    moved = {id(line) for line in (*head, *tail)}
    return head, [line for line in lines if id(line) not in moved], tail


def fallen(left: list[Line], floor: float, height: float) -> list[Line]:
    """The lines below ``floor``, if a gap parts them from those above."""
    low = [line for line in left if line.y0 > floor - 0.2 * height]
    rest = [line.y1 for line in left if line.y0 <= floor - 0.2 * height]
    if low and rest and min(line.y0 for line in low) - max(rest) < 0.4 * height:
        return []
    return low


def read_band(band: Band, x: float, height: float, depth: int) -> list[Column]:
    if band.across:
        return as_column(band.lines)
    left = [line for line in band.lines if line.centre < x]
    right = [line for line in band.lines if line.centre >= x]
    return split(left, height, depth + 1) + split(right, height, depth + 1)


def gutter(lines: list[Line], height: float) -> float | None:
    """The x that few lines cross, with text that looks like columns on both sides; None if there is none."""
    left, right = min((line.x0 for line in lines), default=0.0), max((line.x1 for line in lines), default=0.0)
    if len(lines) < 6 or right - left < 12 * height:
        return None
    slack = 0.2 * height
    starts, ends = sorted(line.x0 for line in lines), sorted(line.x1 for line in lines)
    # A gutter is as good as another that the same lines stand before and after: of those, the first.
    places: dict[tuple[int, int], float] = {}
    for percent in range(15, 86):
        x = left + (right - left) * percent / 100
        before, after = bisect_right(ends, x + slack), len(lines) - bisect_left(starts, x - slack)
        if before >= 3 and after >= 3 and len(lines) - before - after <= 0.45 * len(lines):
            places.setdefault((before, after), x)
    scored = [(score, x) for x in places.values() if (score := badness(lines, x, height)) is not None]
    return min(scored)[1] if scored else None


def badness(lines: list[Line], x: float, height: float) -> float | None:
    """How bad a gutter at x would be (lower is better), or None where it cannot be one."""
    slack = 0.2 * height
    before = [line for line in lines if line.x1 <= x + slack]
    after = [line for line in lines if line.x0 >= x - slack]
    crossing = len(lines) - len(before) - len(after)
    prose = (is_prose(before), is_prose(after))
    clean = crossing <= 0.06 * len(lines) and min(len(before), len(after)) >= 8
    if not all(prose) and is_paired(before, after, height):
        return None
    if not (all(prose) or (any(prose) and clean) or (not crossing and is_sidebar(before, after, height))):
        return None
    ends, starts = sorted(line.x1 for line in before), sorted(line.x0 for line in after)
    gap = starts[int(len(starts) * 0.05)] - ends[int(len(ends) * 0.95)]
    return crossing / len(lines) - min(2.0, gap / height) * 0.05


def is_paired(before: list[Line], after: list[Line], height: float, share: float = PAIRED) -> bool:
    """Whether most lines of the shorter side are level with a line of the other: words and their values."""
    few, many = sorted((before, after), key=len)
    beside = count_level(few, many, height)
    return beside >= share * len(few) and (are_values(after) or not (runs_on(before) or runs_on(after)))


def are_values(lines: list[Line]) -> bool:
    """Prices, page numbers, amounts."""
    short = [line for line in lines if len(line.text) <= LONG_TEXT and any(c.isdigit() for c in line.text)]
    return len(short) >= 0.6 * len(lines)


def runs_on(lines: list[Line]) -> bool:
    """Whether sentences go on from line to line: a long line without an end, and lower case below it."""
    width = max(line.x1 for line in lines) - min(line.x0 for line in lines)
    ordered = sorted(lines, key=lambda line: line.middle)
    going_on = sum(
        a.width > 0.6 * width and a.text[-1] not in ".:;!?" and b.text[0].islower() for a, b in pairwise(ordered)
    )
    return going_on >= RUNNING * len(lines)


def count_level(lines: list[Line], others: list[Line], height: float) -> int:
    """How many lines are level with one of the others.

    That is: on one base line, or half-way down alike, what two sizes of type on one line have in common.
    """
    bases, middles = sorted(line.y1 for line in others), sorted(line.middle for line in others)
    near = 0.35 * height
    return sum(min(distance(line.y1, bases), distance(line.middle, middles)) < near for line in lines)


def distance(value: float, ordered: list[float]) -> float:
    """To the nearest of some values in order."""
    at = bisect_left(ordered, value)
    return min(abs(value - other) for other in ordered[max(0, at - 1) : at + 1])


def is_sidebar(before: list[Line], after: list[Line], height: float) -> bool:
    """Two stacks of lines, each with a left edge of its own, white between them, not level with each other."""
    if min(len(before), len(after)) < 4 or is_paired(before, after, height, 0.6):
        return False
    gap = min(line.x0 for line in after) - max(line.x1 for line in before)
    overlap = min(max(line.y1 for line in side) for side in (before, after)) - max(
        min(line.y0 for line in side) for side in (before, after)
    )
    return gap > 1.2 * height and overlap > 4 * height and all(has_edge(side, height) for side in (before, after))


def has_edge(lines: list[Line], height: float) -> bool:
    """Whether most lines, words rather than numbers, begin at one x."""
    edge = median(line.x0 for line in lines)
    wordy = sum(any(character.isalpha() for character in line.text) for line in lines)
    return sum(abs(line.x0 - edge) < 0.7 * height for line in lines) >= 0.6 * len(lines) and wordy >= 0.6 * len(lines)


def is_prose(lines: list[Line]) -> bool:
    """Lines that are long, in characters and beside their column: text that runs on, not the cells of a table."""
    column = max(line.x1 for line in lines) - min(line.x0 for line in lines)
    widths = sorted(line.width for line in lines)
    return widths[int(len(widths) * 0.6)] > 0.55 * column and median(len(line.text) for line in lines) >= LONG_TEXT
