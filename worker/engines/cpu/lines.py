"""Text lines as boxes, and what can be said of them before a word is understood."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

APART = 1.5


@dataclass(frozen=True, slots=True)
class Line:
    """One piece of text as it was detected: a line, or a part of one, or a table or figure that takes its place.

    ``x0`` to ``y1`` are pixels of the levelled (and perhaps mirrored) page; ``box`` is the same place on the page as it
    is. ``score``:
    confidence, 0 to 1. ``turned``: the writing runs upwards or downwards.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    text: str
    box: tuple[float, float, float, float]
    region: int | None = None
    score: float = 1.0
    turned: bool = False

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        """Half-way down the line."""
        return (self.y0 + self.y1) / 2

    @property
    def centre(self) -> float:
        """Half-way along the line."""
        return (self.x0 + self.x1) / 2


def mirrored(line: Line, width: float) -> Line:
    """The line on a page of this width that is seen in a mirror."""
    return replace(line, x0=width - line.x1, x1=width - line.x0)


def is_leftwards(lines: Iterable[Line]) -> bool:
    """Whether most of the letters belong to writing that runs from right to left."""
    directions = [unicodedata.bidirectional(letter) for line in lines for letter in line.text if letter.isalpha()]
    return sum(direction in ("R", "AL") for direction in directions) > len(directions) / 2


@dataclass(frozen=True, slots=True)
class Row:
    """Pieces that stand side by side, left to right."""

    pieces: tuple[Line, ...]

    @property
    def x0(self) -> float:
        return self.pieces[0].x0

    @property
    def x1(self) -> float:
        return max(piece.x1 for piece in self.pieces)

    @property
    def y0(self) -> float:
        return min(piece.y0 for piece in self.pieces)

    @property
    def y1(self) -> float:
        return max(piece.y1 for piece in self.pieces)

    @property
    def height(self) -> float:
        return median(piece.height for piece in self.pieces)

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def is_apart(self) -> bool:
        """Whether its pieces stand too far from each other to be one sentence."""
        return any(b.x0 - a.x1 > APART * a.height for a, b in pairwise(self.pieces))

    @property
    def region(self) -> int | None:
        """The table or figure this row stands for, if it does."""
        return self.pieces[0].region


def same_row(a: Line, b: Line) -> bool:
    """Whether two pieces share more than half the height of the lower one."""
    shared = min(a.y1, b.y1) - max(a.y0, b.y0)
    return shared > 0.5 * min(a.height, b.height)


def rows(lines: Iterable[Line]) -> list[Row]:
    """Lines gathered into rows, top to bottom."""
    found: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.middle):
        home = next((row for row in reversed(found[-3:]) if fits(line, row)), None)
        if home is None:
            found.append([line])
        else:
            home.append(line)
    return [Row(tuple(sorted(row, key=lambda line: line.x0))) for row in found]


def fits(line: Line, row: Sequence[Line]) -> bool:
    """Beside a row's last piece, and on top of none of its pieces; tables and figures stand alone."""
    if line.region is not None or row[0].region is not None:
        return False
    crossing = any(min(line.x1, p.x1) - max(line.x0, p.x0) > 0.5 * min(line.width, p.width) for p in row)
    return same_row(line, row[-1]) and not crossing


def line_height(lines: Iterable[Line]) -> float:
    """The usual height of a line, in pixels."""
    return median(line.height for line in lines)


def union(boxes: Iterable[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
