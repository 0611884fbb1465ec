"""Where text is: the detector's map of a picture becomes corners of text lines, however large or bent they are.

The model and the geometry are RapidOCR's; the walk over the map is ours, since RapidOCR's own stops at a number of
contours, scores a bent line by the straight box around it, and sees a picture as a whole only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Quads = NDArray[np.float32]
Floats = NDArray[np.float64]

SIDE = 2000
"""Pixels of the longer side of what the detector sees at once."""

MAX_ASPECT = 4.0
LONG = 2.2
"""A picture longer than so many of its short sides is looked at in pieces."""

SHORT_SIDE = 1414
SEAM = 160
"""Pixels that neighbouring pieces share; a line of text must fit in."""

FINE = 13.0
"""Where a quarter of the lines are lower than this in what the detector saw, it looks closer."""

MOST_PIECES = 40
BENT_SHARE = 0.2
SCORE = 0.5
LINE = 3
"""A patch so much wider than high is a line, however it bends."""

MOST_LINES = 4000
"""Lines of one page. Their recognition takes minutes; what is beyond is lost, and the page says so."""

INK, ROOM = 24, 40

CONTRAST = 40
"""Levels (of 255) off the paper from which a pixel is a mark: of a box, of a letter in it."""


@dataclass(frozen=True, slots=True)
class Bend:
    """A line of text along a parabola: its middle at x is ``a x² + b x + c``, for x from x0 to x1, ``height`` high."""

    a: float
    b: float
    c: float
    x0: float
    x1: float
    height: float

    def middle(self, x: Any) -> Any:
        return (self.a * x + self.b) * x + self.c

    def scaled(self, factor: float, x: float = 0.0, y: float = 0.0) -> Bend:
        """The same in a picture ``factor`` times as large, moved by x and y."""
        # y' = f·(a u² + b u + c) + y  with  u = (x' - x) / f
        a, b = self.a / factor, self.b
        return Bend(
            a, b - 2 * a * x, a * x * x - b * x + self.c * factor + y,
            self.x0 * factor + x, self.x1 * factor + x, self.height * factor,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detected:
    """Corners of text lines, (n, 4, 2), clockwise from the top left, in pixels; ``bends``: of those not straight.

    ``dropped``: lines beyond ``MOST_LINES``.
    """

    quads: Quads
    bends: dict[int, Bend] = field(default_factory=dict)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.quads)


def shrink(image: Pixels, side: float) -> tuple[Pixels, float]:
    """The image with its longest side at most ``side``, and the factor it was scaled by."""
    return resized(image, min(1.0, side / max(image.shape[:2])))


def resized(image: Pixels, scale: float) -> tuple[Pixels, float]:
    if scale >= 1:
        return image, 1.0
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), scale


def pad_to_aspect(image: Pixels) -> Pixels:
    """White below or to the right until neither side is over four times the other.

    The detector enlarges the short side to 736 pixels, so a long strip would grow beyond all bounds.
    """
    height, width = image.shape[:2]
    down, right = max(0, int(width / MAX_ASPECT) - height), max(0, int(height / MAX_ASPECT) - width)
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.asarray(padded, dtype=np.uint8)


def ink(image: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what differs from the picture's usual shade, with some room around it."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    marks = np.abs(grey.astype(np.int16) - int(np.median(grey))) > INK
    columns, lines = np.flatnonzero(marks.any(axis=0)), np.flatnonzero(marks.any(axis=1))
    if not len(columns):
        return 0, 0, image.shape[1], image.shape[0]
    left, top = max(0, int(columns[0]) - ROOM), max(0, int(lines[0]) - ROOM)
    return left, top, int(columns[-1]) + ROOM, int(lines[-1]) + ROOM


def marks_on(image: Pixels) -> Pixels:
    """1 where a BGR picture is off its usual shade by more than ``CONTRAST``."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.absdiff(grey, np.full_like(grey, int(np.median(grey)))) > CONTRAST, np.uint8)


def line_height(found: Detected) -> float:
    """Pixels of the usual line; there is one at least."""
    return float(np.median(np.linalg.norm(found.quads[:, 3] - found.quads[:, 0], axis=1)))


def cuts(length: int, most: int) -> list[tuple[int, int]]:
    """Pieces of a side of ``length`` pixels, each at most ``most`` long, that overlap by ``SEAM``."""
    if length <= most:
        return [(0, length)]
    count = -(-(length - SEAM) // (most - SEAM))
    step = (length - SEAM) / count
    return [(round(i * step), min(length, round(i * step + step) + SEAM)) for i in range(count)]


class Detector:
    """``model``: RapidOCR's TextDetector, whose session may run in many threads at once."""

    def __init__(self, model: Any) -> None:
        self._prepare, self._session, self._geometry = model.get_preprocess(), model.session, model.postprocess_op

    def find(self, image: Pixels, checkpoint: Callable[[], None]) -> Detected:
        """The text lines of a BGR image of any size; ``checkpoint`` is called between its pieces."""
        found = self._look(image, coarse(image), checkpoint)
        if not len(found):
            # A few words on a very large page are lost in the white: look once more at what is not white.
            left, top, right, bottom = ink(image)
            inked = np.ascontiguousarray(image[top:bottom, left:right])
            found = moved(self._look(inked, coarse(inked), checkpoint), 1.0, left, top)
        scale = coarse(image)
        finer = closer(found, scale, image)
        if finer > scale:
            found = self._look(image, finer, checkpoint)
        return limited(found)

    def _look(self, image: Pixels, scale: float, checkpoint: Callable[[], None]) -> Detected:
        small, scale = resized(image, scale)
        height, width = small.shape[:2]
        if max(height, width) <= max(SIDE, LONG * min(height, width)) and height * width <= 2 * SIDE * SHORT_SIDE:
            return moved(self._piece(small), 1 / scale, 0, 0)
        enlarged = max(1.0, 736 / min(height, width))
        most = max(2 * SEAM, int(SIDE / enlarged))
        pieces = []
        for top, bottom in cuts(height, most):
            for left, right in cuts(width, most):
                checkpoint()
                seen = self._piece(np.ascontiguousarray(small[top:bottom, left:right]))
                pieces.append(moved(seen, 1.0, left, top))
        return moved(joined(pieces), 1 / scale, 0, 0)

    def _piece(self, image: Pixels) -> Detected:
        """What the detector sees in one look."""
        padded = pad_to_aspect(image)
        prepared = self._prepare(padded)
        if prepared is None:
            return Detected(np.zeros((0, 4, 2), np.float32))
        probability = self._session(prepared)[0, 0]
        height, width = image.shape[:2]
        ratio = np.array([padded.shape[1] / probability.shape[1], padded.shape[0] / probability.shape[0]])
        quads: list[Floats] = []
        bends: dict[int, Bend] = {}
        for quad, bend in self._walk(probability):
            if bend is not None:
                # Both ratios are the same to within the rounding to multiples of 32.
                bends[len(quads)] = bend.scaled(float(ratio.mean()))
            quads.append(np.clip(np.round(quad * ratio), 0, [width - 1, height - 1]))
        order = sorted(range(len(quads)), key=lambda i: (quads[i][0][1], quads[i][0][0]))
        ordered = np.asarray([quads[i] for i in order], np.float32).reshape(-1, 4, 2)
        return Detected(ordered, {new: bends[old] for new, old in enumerate(order) if old in bends})

    def _walk(self, probability: NDArray[np.float32]) -> Iterator[tuple[Floats, Bend | None]]:
        """Every patch of the map that is text: the corners around it, and how it bends."""
        mask = (probability > self._geometry.thresh).astype(np.uint8)
        if self._geometry.dilation_kernel is not None:
            mask = cv2.dilate(mask, self._geometry.dilation_kernel.astype(np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            box, side = self._geometry.get_mini_boxes(contour)
            if side < self._geometry.min_size or not self._is_text(probability, contour, box):
                continue
            corners, side = self._geometry.get_mini_boxes(self._geometry.unclip(box))
            corners = self._geometry.order_points_clockwise(np.array(corners))
            if side >= self._geometry.min_size + 2:
                yield np.asarray(corners, np.float64), bend_of(contour, box)

    def _is_text(self, probability: NDArray[np.float32], contour: NDArray[np.int32], box: NDArray[np.float32]) -> bool:
        """By the straight box around a patch; around a bent line that is mostly paper, and the patch itself counts."""
        if self._geometry.box_score_fast(probability, box.reshape(-1, 2)) >= SCORE:
            return True
        _, _, width, height = cv2.boundingRect(contour)
        return bool(width > LINE * height and self._geometry.box_score_slow(probability, contour) >= SCORE)


def bend_of(contour: NDArray[np.int32], box: NDArray[np.float32]) -> Bend | None:
    """The parabola along a patch of text that its straight box does not fit; None for a straight line."""
    x, y, width, height = cv2.boundingRect(contour)
    short = min(float(np.linalg.norm(box[1] - box[0])), float(np.linalg.norm(box[3] - box[0])))
    if width < 6 * height / 2 or short < 6:
        return None
    patch = np.zeros((height, width), np.uint8)
    cv2.drawContours(patch, [contour - [x, y]], -1, 1, -1)
    thick = patch.sum(axis=0).astype(np.float64)
    usual = float(np.median(thick))
    if width < 10 * usual or short < 1.5 * usual:
        return None
    columns = np.arange(width)
    middles = (patch * np.arange(height)[:, None]).sum(axis=0) / np.maximum(1, thick)
    a, b, c = (float(v) for v in np.polyfit(columns, middles, 2))
    off = np.abs(middles - np.polyval([a, b, c], columns))
    if abs(a) * width * width / 4 < 0.5 * usual or float(np.median(off)) > 0.25 * usual:
        return None
    grown = 0.8 * usual  # as ``unclip`` grows a straight box
    return Bend(a, b, c, -grown, width - 1 + grown, 2.6 * usual).scaled(1.0, x, y)


def coarse(image: Pixels) -> float:
    """The scale of the first look: as large as one look allows, by the short side for long pictures."""
    height, width = image.shape[:2]
    if max(height, width) > LONG * min(height, width):
        return float(min(1.0, SHORT_SIDE / min(height, width)))
    return float(min(1.0, SIDE / max(height, width)))


def closer(found: Detected, scale: float, image: Pixels) -> float:
    """The scale at which the smaller lines are large enough; ``scale`` itself where they are."""
    if scale >= 1 or len(found) < 4:
        return scale
    heights = np.minimum(
        np.linalg.norm(found.quads[:, 3] - found.quads[:, 0], axis=1),
        np.linalg.norm(found.quads[:, 1] - found.quads[:, 0], axis=1),
    )
    small = float(np.percentile(heights, 25)) * scale
    if small >= FINE:
        return scale
    area = image.shape[0] * image.shape[1]
    most = (MOST_PIECES * SIDE * SHORT_SIDE / area) ** 0.5
    return float(max(scale, min(1.0, most, scale * 1.5 * FINE / max(1.0, small))))


def moved(found: Detected, factor: float, x: float, y: float) -> Detected:
    """The same lines in a picture ``factor`` times as large, moved by x and y."""
    bends = {i: bend.scaled(factor, x, y) for i, bend in found.bends.items()}
    return Detected(np.asarray(found.quads * factor + [x, y], np.float32), bends)


def limited(found: Detected) -> Detected:
    """At most ``MOST_LINES``; and bends only of a page that is bent: a line or two (stamps, brackets) say nothing."""
    bent = len(found.bends) >= max(3, BENT_SHARE * len(found))
    kept = {i: bend for i, bend in found.bends.items() if bent and i < MOST_LINES}
    return Detected(found.quads[:MOST_LINES], kept, max(0, len(found) - MOST_LINES))


def joined(pieces: list[Detected]) -> Detected:
    """The lines of pieces that overlap: what two of them saw of one line is one line."""
    quads = [quad for piece in pieces for quad in piece.quads]
    owners = [number for number, piece in enumerate(pieces) for _ in piece.quads]
    bends = dict(enumerate(bend for piece in pieces for bend in map(piece.bends.get, range(len(piece)))))
    boxes = [(*quad.min(axis=0), *quad.max(axis=0)) for quad in quads]
    order = sorted(range(len(quads)), key=lambda i: boxes[i][1])
    gone: set[int] = set()
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if boxes[j][1] > boxes[i][3]:
                break
            if i not in gone and j not in gone and owners[i] != owners[j] and same_line(boxes[i], boxes[j]):
                quads[j], boxes[j], bends[j] = merged(i, j, quads, boxes, bends)
                gone.add(i)
    kept = [i for i in order if i not in gone]
    found = np.asarray([quads[i] for i in kept], np.float32).reshape(-1, 4, 2)
    return Detected(found, {new: bend for new, old in enumerate(kept) if (bend := bends[old])})


BoxF = tuple[float, ...]


def same_line(a: BoxF, b: BoxF) -> bool:
    """Whether two boxes of neighbouring pieces show parts of one line: they meet, and are as high or as wide."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return False
    level = down > 0.6 * min(a[3] - a[1], b[3] - b[1])
    upright = across > 0.6 * min(a[2] - a[0], b[2] - b[0])
    return level and (upright or across > 0.2 * min(a[3] - a[1], b[3] - b[1]))


def merged(
    i: int, j: int, quads: list[Any], boxes: list[BoxF], bends: dict[int, Bend | None]
) -> tuple[Any, BoxF, Bend | None]:
    """Of two sights of one line the one that holds the other, else a box around both."""
    a, b = boxes[i], boxes[j]
    for one, own in ((i, a), (j, b)):
        other = b if own is a else a
        if own[0] <= other[0] + 3 and own[2] >= other[2] - 3 and own[3] - own[1] >= 0.8 * (other[3] - other[1]):
            return quads[one], own, bends[one]
    x0, y0, x1, y1 = min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32), (x0, y0, x1, y1), None
