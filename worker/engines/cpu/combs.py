"""Combs: rows of cells for one letter each, in forms. Read as one line of what is in the cells, without their rims.

Left as they are, the rims part the letters, or are read as letters themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engines.cpu.detection import Detected, Pixels, Quads, line_height, marks_on

FEWEST = 4
"""Cells of a comb; fewer are strokes of letters, or boxes to tick."""

NARROWEST, WIDEST = 0.5, 2.5
"""Width of a cell, in heights of the usual line."""

LEAST = 14
"""Pixels of that, below which stems of letters may pass for bars."""

EVEN = 0.08
"""Share of a cell's width by which cells may differ, or ``SLACK`` pixels."""

SLACK = 2
UNEVEN = 0.25
"""Share of the way from letter to letter by which that differs, where no cells are drawn."""

WHOLE = 0.95
"""Share of a comb's foot that is drawn."""

ROOM, BETWEEN = 0.12, 0.06
"""White beside a rim, in widths of a cell; and on either side of letters that are put side by side, in heights."""

PARTED = 0.25
"""Share of the cells whose letter may be in parts: a quotation mark, a broken print."""

SPACE = 0.6
"""White for a cell without a letter between two with one, in widths of a cell."""


Cells = tuple[tuple[int, int], ...]
"""Where each cell begins and ends, from left to right."""


@dataclass(frozen=True, slots=True)
class Comb:
    """A row of cells: its top and foot, and where the bars between the cells begin; pixels."""

    cells: Cells
    y0: int
    y1: int
    bars: int

    @property
    def x0(self) -> int:
        return self.cells[0][0]

    @property
    def x1(self) -> int:
        return self.cells[-1][1]

    @property
    def pitch(self) -> float:
        return (self.x1 - self.x0) / len(self.cells)


def with_combs(
    image: Pixels, found: Detected, given: Mapping[int, str]
) -> tuple[Detected, dict[int, str], dict[int, Pixels]]:
    """The pieces of text with each comb as one piece; what some of them say, which is ``given``; and the pictures of
    what stands in the combs, without rims. A bent page is left as it is.
    """
    combs = [] if found.bends or not len(found) else [*combs_in(image, found)]
    lines = [(comb, line) for comb in combs if (line := without_rims(image, comb)) is not None]
    if not lines:
        return found, dict(given), {}
    kept: list[Quads] = []
    said = {}
    for i, quad in enumerate(found.quads):
        if i in given:
            said[len(kept)] = given[i]
        kept.extend([quad] if i in given else outside(quad, [comb for comb, _ in lines]))
    pictures = {len(kept) + i: line for i, (_, line) in enumerate(lines)}
    quads = np.asarray([*kept, *(box_of(comb) for comb, _ in lines)], np.float32)
    return Detected(quads, {}, found.dropped), said, pictures


def combs_in(image: Pixels, found: Detected) -> Iterator[Comb]:
    height, marks = line_height(found), marks_on(image)
    barred = [
        comb
        for row in rows_of(bars_in(marks, height))
        for comb in (*even_ones(between_bars(row), row, height), *even_ones(in_pairs(row), row, height))
        if has_foot(marks, comb)
    ]
    dashed = [
        comb
        for row in rows_of(dashes_in(marks, height))
        for comb in even_ones(over_dashes(row), row, height)
        if not any(other.y0 - SLACK <= comb.y0 <= other.y1 + SLACK for other in barred) and stands_free(marks, comb)
    ]
    combs = [*barred, *dashed]
    for comb in combs:
        whole = raised(comb, found, height)
        if not any(stacked(comb, other) for other in combs) and is_parted(marks, whole):
            yield whole


def bars_in(marks: Pixels, height: float) -> NDArray[np.int32]:
    """Upright lines: left, top, width, height, area of each."""
    stats = lines_in(marks, 1, max(6, round(0.25 * height)))
    return stats[(stats[:, 2] <= max(4, 0.2 * height)) & (stats[:, 3] <= 2 * WIDEST * height)]


def dashes_in(marks: Pixels, height: float) -> NDArray[np.int32]:
    """Level lines no longer than a cell is wide."""
    stats = lines_in(marks, max(6, round(NARROWEST * height)), 1)
    return stats[(stats[:, 3] <= max(4, 0.2 * height)) & (stats[:, 2] <= WIDEST * height)]


def lines_in(marks: Pixels, width: int, height: int) -> NDArray[np.int32]:
    straight = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((height, width), np.uint8))
    return np.asarray(cv2.connectedComponentsWithStats(straight, connectivity=8)[2][1:], np.int32)


def rows_of(lines: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Lines that end at one height, and are of one size, from left to right."""
    left = lines[np.argsort(lines[:, 0], kind="stable")]
    while len(left) >= FEWEST:
        feet, first = left[:, 1] + left[:, 3], left[0]
        same = abs(feet - feet[0]) <= SLACK
        for side in (2, 3):
            same &= abs(left[:, side] - first[side]) <= SLACK + 0.1 * first[side]
        yield left[same]
        left = left[~same]


def between_bars(row: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Cells that share their bars."""
    middles = (row[:, 0] + row[:, 2] // 2).tolist()
    return [*itertools.pairwise(middles)]


def in_pairs(row: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Cells with bars of their own, and a gap to the next that is narrower than they are."""
    middles = (row[:, 0] + row[:, 2] // 2).tolist()
    cells = [*zip(middles[::2], middles[1::2], strict=False)]
    gaps = [b[0] - a[1] for a, b in itertools.pairwise(cells)]
    wide = [b - a for a, b in cells]
    return cells if gaps and max(wide) - min(wide) <= 2 * SLACK and max(gaps) < min(wide) - 2 * SLACK else []


def over_dashes(row: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Cells of which only the foot is drawn; each goes halfway to the next."""
    feet = [(int(x), int(x + width)) for x, width in row[:, [0, 2]]]
    halves = [(b[0] - a[1]) // 2 for a, b in itertools.pairwise(feet)]
    room = min(halves, default=0)
    return [(a - room, b + room) for a, b in feet] if room >= 0 else []


def even_ones(cells: Sequence[tuple[int, int]], row: NDArray[np.int32], height: float) -> Iterator[Comb]:
    """Stretches of cells that are equally far apart. ``row``: the lines that make them."""
    top, foot = int(row[:, 1].min()), int((row[:, 1] + row[:, 3]).max())
    begin = 0
    while begin + 1 < len(cells):
        pitch = cells[begin + 1][0] - cells[begin][0]
        end = begin + 1
        while end < len(cells) and abs(cells[end][0] - cells[end - 1][0] - pitch) <= max(SLACK, EVEN * pitch):
            end += 1
        if end - begin >= FEWEST and max(LEAST, NARROWEST * height) <= pitch <= WIDEST * height:
            yield Comb(tuple(cells[begin:end]), top, foot, top)
        begin = end


def has_foot(marks: Pixels, comb: Comb) -> bool:
    """Whether a line closes each of the cells below."""
    foot = np.atleast_1d(marks[max(0, comb.y1 - 2 * SLACK) : comb.y1 + SLACK].any(axis=0))
    return all(float(foot[a:b].mean()) >= WHOLE for a, b in comb.cells)


def stands_free(marks: Pixels, comb: Comb) -> bool:
    """Whether nothing is right below the dashes: they are no strokes of letters."""
    below = marks[comb.y1 + SLACK : comb.y1 + SLACK + max(3, round(ROOM * comb.pitch)), comb.x0 : comb.x1]
    return not below.any()


def stacked(comb: Comb, other: Comb) -> bool:
    """Whether cells stand on each other, as in a table."""
    meet = min(comb.x1, other.x1) > max(comb.x0, other.x0)
    return comb is not other and meet and min(abs(comb.y0 - other.y1), abs(comb.y1 - other.y0)) <= SLACK


def raised(comb: Comb, found: Detected, height: float) -> Comb:
    """A comb of short bars, or none, with the letters above them."""
    if comb.y1 - comb.y0 > height:
        return comb
    over = [
        float(quad[:, 1].min())
        for quad in found.quads
        if comb.x0 < quad[:, 0].mean() < comb.x1 and comb.y1 - 2 * height < quad[:, 1].mean() < comb.y1
    ]
    return replace(comb, y0=max(0, round(min([comb.y0, *over]))))


def is_parted(marks: Pixels, comb: Comb) -> bool:
    """Whether nothing goes from cell to cell, and what is in a cell is one letter."""
    rows = marks[comb.y0 : comb.bars]
    for (_, a), (b, _) in itertools.pairwise(comb.cells):
        if rows[:, a - 1 : b + 2].any():
            return False
    room = rim(comb)
    rows = marks[comb.y0 + room : comb.y1 - room]
    if not rows.size or float(rows[:, comb.x0 : comb.x1].mean(axis=1).max()) >= WHOLE:
        return False  # a line across: cells on cells
    inside = [np.atleast_1d(rows[:, a + room : b - room].any(axis=0)) for a, b in comb.cells]
    written = [count for columns in inside if (count := len(stretches(columns)))]
    return bool(written) and sum(count > 1 for count in written) <= PARTED * len(written)


def stretches(columns: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where each stretch of columns with ink begins and ends, (n, 2)."""
    padded = np.concatenate([[0], columns.astype(np.int8), [0]])
    return np.flatnonzero(np.diff(padded)).reshape(-1, 2)


def closed_up(text: str, line: Pixels) -> str:
    """What a level line says, without the gaps between single letters that stand equally far apart: a comb whose cells
    are not drawn, as in the fields of a PDF."""
    letters = text.split(" ")
    if len(letters) <= FEWEST or any(len(letter) != 1 for letter in letters):
        return text
    inked = stretches(np.atleast_1d(marks_on(line).any(axis=0)))
    if len(inked) != len(letters):
        return text
    steps = np.diff(inked.mean(axis=1))
    return "".join(letters) if np.ptp(steps) <= UNEVEN * steps.mean() else text


def rim(comb: Comb) -> int:
    """Pixels beside the edge of a cell in which its rim lies."""
    return max(2, round(ROOM * comb.pitch))


def without_rims(image: Pixels, comb: Comb) -> Pixels | None:
    """What stands in the cells, side by side; None where all are empty."""
    room = rim(comb)
    rows = image[comb.y0 + room : comb.y1 - room]
    if rows.shape[0] < 4:
        return None
    cells = [ink_of(rows[:, a + room : b - room], max(2, round(BETWEEN * rows.shape[0]))) for a, b in comb.cells]
    written = [i for i, cell in enumerate(cells) if cell is not None]
    if not written:
        return None
    paper = np.median(rows.reshape(-1, 3), axis=0).astype(np.uint8)
    blank = np.full((rows.shape[0], round(SPACE * comb.pitch), 3), paper, np.uint8)
    shown = [blank if cell is None else cell for cell in cells[written[0] : written[-1] + 1]]
    return np.ascontiguousarray(np.hstack([blank, *shown, blank]))


def ink_of(cell: Pixels, room: int) -> Pixels | None:
    """The columns of a cell that have ink, with some white beside them; None if it is empty."""
    if not cell.size:
        return None
    columns = np.flatnonzero(marks_on(np.ascontiguousarray(cell)).any(axis=0))
    if len(columns) < 2:
        return None
    return cell[:, max(0, int(columns[0]) - room) : int(columns[-1]) + 1 + room]


def outside(quad: Quads, combs: Sequence[Comb]) -> list[Quads]:
    """What of a piece of text lies outside the combs: all of it, the words before or behind one, or nothing."""
    x0, x1, middle = float(quad[:, 0].min()), float(quad[:, 0].max()), float(quad[:, 1].mean())
    for comb in combs:
        if not comb.y0 - SLACK < middle < comb.y1 + SLACK or x1 <= comb.x0 or x0 >= comb.x1:
            continue
        parts = [(x0, min(x1, float(comb.x0))), (max(x0, float(comb.x1)), x1)]
        return [between(quad, a, b) for a, b in parts if b - a > comb.pitch]
    return [quad]


def between(quad: Quads, a: float, b: float) -> Quads:
    """A piece of text from x = a to b."""
    part = quad.copy()
    part[:, 0] = np.clip(part[:, 0], a, b)
    return part


def box_of(comb: Comb) -> Quads:
    a, b, top, foot = comb.x0, comb.x1, comb.y0, comb.y1
    return np.asarray([[a, top], [b, top], [b, foot], [a, foot]], np.float32)
