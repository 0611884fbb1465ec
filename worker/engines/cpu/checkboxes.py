"""Boxes to tick, printed on paper: found by their shape, for the recogniser has no letter for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engines.cpu.detection import Detected, Pixels, Quads, line_height, marks_on

SMALLEST, LARGEST = 0.4, 1.5
"""Sides of a box, in heights of the usual line."""

LEAST = 12
"""Pixels of a side, below which a letter may pass for a box."""

RIM, INSET = 0.85, 0.25
SECTORS, STRAY, FILLED = 24, 0.05, 0.9
"""Of a round box: parts of its rim, and shares of ink that count as none and as all."""
TICKED = 0.07
"""Share of the inside that is ink, from which a box is ticked."""

COMB, NARROWEST = 1.8, 0.9
REACH = 15
"""Sides of a box between it and the words on its left."""

APART = 0.2
"""White beside a box, in its sides: a letter has less."""

EMPTY, FULL = "[ ]", "[x]"

Place = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""


OBLONG, UNEVEN = 0.15, 0.4
"""By how much of the longer side the sides of a box differ at most: as it is, and with what a mark adds to its rim."""

STRAIGHT = 0.95
"""Share of a side of such a box that lies in one row or column of its outermost pixels."""

THICKEST, SCRAWL, SQUARE = 0.2, 0.05, 0.7
"""Width of its rim at most, in its sides; share of straight ink that a mark leaves within; and share of ink in its
corners, which the bow of a letter cuts off."""

EDGE = 0.7
"""Share of a row or column of pixels that is a side of a box."""

BEYOND, SPRAWL = 0.2, 4
"""Sides of a box that a mark made by hand goes beyond it at least, and that it covers with the box at most."""

WITHIN, CROSSED = 0.15, 0.04
"""Sides of a box beside its rim, and the share of ink within from which such a mark is no line that touches it."""

OVERHANG = 0.6
"""Sides on either side of a box in which a mark that goes beyond it is no writing."""


@dataclass(frozen=True, slots=True)
class Checkbox:
    """A square and whether it is ticked; pixels. ``left``, ``right``: how far its mark reaches."""

    x0: int
    y0: int
    x1: int
    y1: int
    ticked: bool
    left: int
    right: int

    @property
    def side(self) -> int:
        return self.x1 - self.x0

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def text(self) -> str:
        return FULL if self.ticked else EMPTY


def with_checkboxes(image: Pixels, found: Detected) -> tuple[Detected, dict[int, str]]:
    """The pieces of text with every box as a piece of its own, and what those say: ``[x]`` or ``[ ]``."""
    boxes = [box for box in checkboxes(image, found) if labelled(box, found.quads)]
    if not boxes:
        return found, {}
    quads: list[Quads] = []
    bends = {}
    for i, quad in enumerate(found.quads):
        if i in found.bends:
            bends[len(quads)] = found.bends[i]
        quads.extend([quad] if i in found.bends else cut(quad, boxes))
    texts = {len(quads) + i: box.text for i, box in enumerate(boxes)}
    quads.extend(around(box, found.quads) for box in boxes)
    return Detected(np.asarray(quads, np.float32), bends, found.dropped), texts


def checkboxes(image: Pixels, found: Detected) -> list[Checkbox]:
    """Squares of about a line's height, alone, with a whole rim."""
    if not len(found):
        return []
    height, marks = line_height(found), marks_on(image)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    places = candidates(stats, height)
    seen, rings = boxes_with(has_rim, marks, places), boxes_with(is_ring, marks, places)
    seen += [box for box in overdrawn(marks, labels, stats, height) if not any(same(box, other) for other in seen)]
    return [box for box in [*seen, *(rings if is_group(rings) else ())] if not in_comb(box, seen)]


def candidates(stats: NDArray[np.int32], height: float, oblong: float = OBLONG) -> list[Place]:
    """Patches about as wide as high."""
    wide, high = stats[1:, 2], stats[1:, 3]
    square = (
        (wide >= SMALLEST * height) & (wide <= LARGEST * height) & (abs(wide - high) <= oblong * np.maximum(wide, high))
    )
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h, _ in stats[1:][square & (wide >= LEAST)]]


def overdrawn(marks: Pixels, labels: NDArray[np.int32], stats: NDArray[np.int32], height: float) -> list[Checkbox]:
    """Boxes with a mark by hand that goes beyond the rim: of such a patch only the rim is of straight lines.

    ``labels``, ``stats``: the patches of ``marks``.
    """
    length = max(LEAST - 2, round(0.8 * SMALLEST * height)) | 1
    across = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    down = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    lines = cv2.bitwise_or(across, down)
    _, _, frames, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    places = [trimmed(lines, *frame) for frame in candidates(frames, height, UNEVEN)]
    boxes = (under_mark(marks, labels, stats, place) for place in places if is_frame(across, down, *place))
    return [box for box in boxes if box]


def is_frame(across: Pixels, down: Pixels, x: int, y: int, width: int, height: int) -> bool:
    """Whether straight lines make a box: of letters with straight stems and feet, a side has gaps or a bow.

    ``across``, ``down``: the picture's level and its upright lines.
    """
    if min(width, height) < LEAST or abs(width - height) > OBLONG * max(width, height):
        return False
    level, upright = across[y : y + height, x : x + width], down[y : y + height, x : x + width]
    sides = (level[:2], level[-2:], upright[:, :2].T, upright[:, -2:].T)
    if min(float(side.mean(axis=1).max()) for side in sides) < STRAIGHT:
        return False
    both = cv2.bitwise_or(level, upright)
    corner, inset = 2, round(THICKEST * width)
    corners = (both[:corner, :corner], both[:corner, -corner:], both[-corner:, :corner], both[-corner:, -corner:])
    is_thin = float(both[inset:-inset, inset:-inset].mean()) < SCRAWL
    return is_thin and min(float(part.mean()) for part in corners) >= SQUARE


def under_mark(marks: Pixels, labels: NDArray[np.int32], stats: NDArray[np.int32], place: Place) -> Checkbox | None:
    """The box in this place, if its patch goes beyond it and is in it too."""
    x, y, width, height = place
    inside = marks[y : y + height, x : x + width]
    patch = np.bincount(labels[y : y + height, x : x + width][inside > 0]).argmax()
    left, top, wide, high, _ = map(int, stats[patch])
    beyond = max(x - left, y - top, left + wide - x - width, top + high - y - height)
    inner = inside[round(WITHIN * height) : -round(WITHIN * height), round(WITHIN * width) : -round(WITHIN * width)]
    if beyond < BEYOND * width or wide + high > SPRAWL * (width + height) or float(inner.mean()) <= CROSSED:
        return None
    others = np.where(labels[y : y + height] == patch, 0, marks[y : y + height])
    box, reach = checkbox(marks, x, y, width, height, beside=others), round(OVERHANG * width)
    if box is None:
        return None
    return replace(box, ticked=True, left=max(left, x - reach), right=min(left + wide, x + width + reach))


def trimmed(lines: Pixels, x: int, y: int, width: int, height: int) -> Place:
    """The rim in a patch of straight lines: where the mark crosses it, stumps of the mark are left."""
    patch = lines[y : y + height, x : x + width]
    rows = np.flatnonzero(patch.mean(axis=1) >= EDGE)
    columns = np.flatnonzero(patch.mean(axis=0) >= EDGE)
    if not len(rows) or not len(columns):
        return x, y, 0, 0
    left, top = int(columns[0]), int(rows[0])
    return x + left, y + top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def boxes_with(rim: Callable[[Pixels], bool], marks: Pixels, places: Sequence[Place]) -> list[Checkbox]:
    return [
        box for x, y, w, h in places
        if rim(marks[y : y + h, x : x + w]) and (box := checkbox(marks, x, y, w, h))
    ]  # fmt: skip


def has_rim(square: Pixels) -> bool:
    width = square.shape[1]
    band = max(2, round(0.12 * width))
    rims = (
        square[:band].any(axis=0),
        square[-band:].any(axis=0),
        square[:, :band].any(axis=1),
        square[:, -band:].any(axis=1),
    )
    corner = max(2, round(0.1 * width))
    corners = (
        square[:corner, :corner],
        square[:corner, -corner:],
        square[-corner:, :corner],
        square[-corner:, -corner:],
    )
    return min(float(rim.mean()) for rim in rims) >= RIM and all(bool(part.any()) for part in corners)


def checkbox(marks: Pixels, x: int, y: int, width: int, height: int, beside: Pixels | None = None) -> Checkbox | None:
    """The box in this place, unless it is a letter, or a bullet. ``beside``: the rows it stands in, without it."""
    row, room = marks[y : y + height] if beside is None else beside, round(APART * width)
    if row[:, max(0, x - room) : x].any() or row[:, x + width : x + width + room].any():
        return None
    inset = round(INSET * width)
    inside = marks[y : y + height, x : x + width]
    ink = float(inside[inset : height - inset, inset : width - inset].mean())
    if ink > 0.9 and not is_parted(inside, inset):
        return None
    return Checkbox(x, y, x + width, y + height, ink > TICKED, x, x + width)


def same(box: Checkbox, other: Checkbox) -> bool:
    return abs(box.x0 - other.x0) < box.side / 2 and abs(box.middle - other.middle) < box.side / 2


def is_parted(square: Pixels, inset: int) -> bool:
    """Whether there is white between the rim of a square and what fills it."""
    return any(not square[row, inset:-inset].any() for row in range(1, inset + 1))


def is_group(rings: Sequence[Checkbox]) -> bool:
    """Whether round boxes are several and one at least has a dot: without it they can be bullets, or letters."""
    return len(rings) > 1 and any(box.ticked for box in rings)


def is_ring(square: Pixels) -> bool:
    """Whether ink goes all round near the rim of a circle, with nothing inside but a dot."""
    height, width = square.shape
    rows, columns = np.ogrid[:height, :width]
    across, down = (columns - (width - 1) / 2) / (width / 2), (rows - (height - 1) / 2) / (height / 2)
    radius, ink = np.hypot(across, down), square.astype(bool)
    sector = ((np.arctan2(down, across) + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    whole = len(np.unique(sector[(radius > 0.75) & ink])) == SECTORS
    dot, inside = ink[radius < 0.3].mean(), ink[radius < 0.7].mean()
    parted = ink[(radius > 0.6) & (radius < 0.7)].mean() < STRAY and (dot > FILLED or inside < STRAY)
    return bool(whole and parted and not ink[radius > 1.15].any())


def in_comb(box: Checkbox, others: Sequence[Checkbox]) -> bool:
    """Whether a box is one of a row without words between, each for a letter."""
    level = [other for other in others if other is not box and abs(other.middle - box.middle) < box.side / 2]
    return any(abs(other.x0 - box.x0) < COMB * box.side for other in level)


def level(box: Checkbox, quad: Quads) -> bool:
    return float(quad[:, 1].min()) < box.middle < float(quad[:, 1].max())


def labelled(box: Checkbox, quads: Quads) -> bool:
    """Whether a piece of text stands beside a box, or holds it."""
    return any(
        level(box, quad)
        and float(quad[:, 0].min()) - 4 * box.side < box.x1
        and float(quad[:, 0].max()) + REACH * box.side > box.x0
        for quad in quads
    )


def cut(quad: Quads, boxes: Sequence[Checkbox]) -> list[Quads]:
    """A piece of text without the boxes inside it."""
    x0, x1 = float(quad[:, 0].min()), float(quad[:, 0].max())
    within = sorted(
        (box for box in boxes if level(box, quad) and x0 - box.side < box.x0 and box.x1 < x1 + box.side),
        key=lambda b: b.x0,
    )
    if not within:
        return [quad]
    edges = [x0, *(edge for box in within for edge in (box.left - 2.0, box.right + 2.0)), x1]
    return [
        part(quad, a, b, x0, x1)
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b - a > NARROWEST * within[0].side
    ]


def part(quad: Quads, a: float, b: float, x0: float, x1: float) -> Quads:
    """The stretch of a piece from x = a to b."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    t, u = max(0.0, (a - x0) / (x1 - x0)), min(1.0, (b - x0) / (x1 - x0))
    return np.asarray([quad[0] + t * top, quad[0] + u * top, quad[3] + u * bottom, quad[3] + t * bottom], np.float32)


def around(box: Checkbox, quads: Quads) -> Quads:
    """A box as a piece of text, as high as the line it stands in."""
    lines = [quad for quad in quads if level(box, quad)]
    nearest = min(
        lines, key=lambda quad: min(abs(float(quad[:, 0].min()) - box.x1), abs(float(quad[:, 0].max()) - box.x0))
    )
    y0, y1 = float(nearest[:, 1].min()), float(nearest[:, 1].max())
    return np.asarray([[box.x0, y0], [box.x1, y0], [box.x1, y1], [box.x0, y1]], np.float32)
