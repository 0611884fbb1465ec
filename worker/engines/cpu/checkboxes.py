"""Boxes to tick, printed on paper: found by their shape, for the recogniser has no letter for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from worker.engines.cpu.detection import Detected, Pixels, Quads

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

CONTRAST = 40
EMPTY, FULL = "[ ]", "[x]"

Place = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""


@dataclass(frozen=True, slots=True)
class Checkbox:
    """A square and whether it is ticked; pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    ticked: bool

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
    height = float(np.median(np.linalg.norm(found.quads[:, 3] - found.quads[:, 0], axis=1)))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    marks = (cv2.absdiff(grey, np.full_like(grey, int(np.median(grey)))) > CONTRAST).astype(np.uint8)
    places = candidates(marks, height)
    seen, rings = boxes_with(has_rim, marks, places), boxes_with(is_ring, marks, places)
    return [box for box in [*seen, *(rings if is_group(rings) else ())] if not in_comb(box, seen)]


def candidates(marks: Pixels, height: float) -> list[Place]:
    """Patches about as wide as high."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    wide, high = stats[1:, 2], stats[1:, 3]
    square = (
        (wide >= SMALLEST * height) & (wide <= LARGEST * height) & (abs(wide - high) <= 0.15 * np.maximum(wide, high))
    )
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h, _ in stats[1:][square & (wide >= LEAST)]]


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


def checkbox(marks: Pixels, x: int, y: int, width: int, height: int) -> Checkbox | None:
    """The box in this place, unless it is a letter, or a bullet."""
    beside = round(APART * width)
    left, right = marks[y : y + height, max(0, x - beside) : x], marks[y : y + height, x + width :][:, :beside]
    if left.any() or right.any():
        return None
    inset = round(INSET * width)
    inside = marks[y : y + height, x : x + width]
    ink = float(inside[inset : height - inset, inset : width - inset].mean())
    if ink > 0.9 and not is_parted(inside, inset):
        return None
    return Checkbox(x, y, x + width, y + height, ink > TICKED)


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
    edges = [x0, *(edge for box in within for edge in (box.x0 - 2.0, box.x1 + 2.0)), x1]
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
