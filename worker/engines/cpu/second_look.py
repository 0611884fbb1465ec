"""Writing that the detector passed over, because it is too faint or too small, seen at a second look.

Rows of letter-like marks in no piece of text (``completeness.overlooked``) are cut out, made dark and large, and put
under each other into one picture for the detector: a look costs as much as the page, so it is taken once, and only
where there are such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from worker.engines.cpu.completeness import UnseenRow
from worker.engines.cpu.detection import Detected, Pixels, Quads

HEIGHT = 20
"""Pixels that a letter is enlarged to, ``MOST`` times at most."""

MOST = 4.0
WIDEST = 2000
FAINT, DARK = 60, 200
"""Levels off the paper below which writing is made darker, and how dark it is then."""

ROOM, BESIDE = 1.5, 12.0
"""Letters' heights of paper above and below a row, and on its sides: a last short word may be no row of its own."""

GAP = 30
MOST_STRIPS = 200


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows that were cut out: where they begin in the picture, and how often they are enlarged."""

    x: int
    y: int
    factor: float
    pixels: Pixels


Detect = Callable[[Pixels], Detected]


def with_contrast(image: Pixels) -> Pixels:
    """The BGR picture; in black and white where all that is on it is faint: the detector takes that for texture."""
    sample = np.ascontiguousarray(image[::3, ::3]).reshape(-1, 3)
    if int(np.ptp(sample, axis=0).max()) >= 2 * FAINT:
        return image
    paper = np.median(sample, axis=0)
    contrast = np.maximum(sample.max(axis=0) - paper, paper - sample.min(axis=0))
    clearest = int(contrast.argmax())
    if not 0 < contrast[clearest] < FAINT:
        return image
    return darker(image[:, :, clearest], float(contrast[clearest]))


def faint_pieces(image: Pixels, found: Detected) -> list[UnseenRow]:
    """The pieces of text that are so faint that a part of them may have been passed over."""
    rows = []
    for i, quad in enumerate(found.quads):
        (x0, y0), (x1, y1) = np.maximum(quad.min(axis=0), 0).astype(int), quad.max(axis=0).astype(int) + 1
        grey = cv2.cvtColor(image[y0:y1:2, x0:x1:2], cv2.COLOR_BGR2GRAY).astype(np.int16)
        contrast = float(np.abs(grey - int(np.median(grey))).max())
        if 0 < contrast < FAINT and i not in found.bends:
            height = 0.5 * min(x1 - x0, y1 - y0)
            rows.append(UnseenRow((float(x0), float(y0), float(x1), float(y1)), 0.0, height, contrast))
    return rows


def look_again(image: Pixels, found: Detected, rows: Sequence[UnseenRow], detect: Detect) -> tuple[Pixels, Detected]:
    """The BGR picture with its faint rows darker, and the pieces of text with those that were passed over."""
    lifted, strips, known = image, [], found
    for x0, y0, x1, y1, height, contrast in regions(rows, image.shape[1], image.shape[0]):
        part = image[y0:y1, x0:x1]
        if contrast < FAINT:
            part = darker(np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8), contrast)
            lifted = lifted.copy() if lifted is image else lifted
            lifted[y0:y1, x0:x1] = part
            known = outside(known, x0, y0, x1, y1)
        factor = max(1.0, min(MOST, HEIGHT / height, WIDEST / (x1 - x0)))
        bare = without(part, np.asarray(known.quads - [x0, y0], np.float32))
        strips.append(Strip(x0, y0, factor, enlarged(bare, factor)))
    more = [quad[None] for quad in seen_in(strips, detect)]
    return lifted, Detected(np.concatenate([known.quads, *more]).astype(np.float32), known.bends, known.dropped)


def outside(found: Detected, x0: int, y0: int, x1: int, y1: int) -> Detected:
    """The pieces of text without those in a box, of which the first look saw a part. A bent page keeps all."""
    if found.bends or not len(found):
        return found
    x, y = found.quads.mean(axis=1).T
    kept = (x < x0) | (x > x1) | (y < y0) | (y > y1)
    return Detected(found.quads[kept], {}, found.dropped)


def regions(rows: Sequence[UnseenRow], width: int, height: int) -> list[tuple[int, int, int, int, float, float]]:
    """Boxes around the rows, those that meet in one; the height of their letters, and their contrast."""
    boxes: list[tuple[float, ...]] = []
    for row in rows:
        x0, y0, x1, y1 = row.box
        across, down = (BESIDE, ROOM) if x1 - x0 > y1 - y0 else (ROOM, BESIDE)
        box: tuple[float, ...] = (
            x0 - across * row.height, y0 - down * row.height, x1 + across * row.height, y1 + down * row.height,
            row.height, row.contrast,
        )  # fmt: skip
        while met := [other for other in boxes if meet(box, other)]:
            boxes = [other for other in boxes if other not in met]
            box = around([box, *met])
        boxes.append(box)
    return [
        (max(0, int(x0)), max(0, int(y0)), min(width, int(x1) + 1), min(height, int(y1) + 1), letters, contrast)
        for x0, y0, x1, y1, letters, contrast in boxes[:MOST_STRIPS]
    ]


def meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def around(boxes: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    x0, y0, x1, y1, letters, contrast = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1), min(letters), min(contrast)


def darker(grey: Pixels, contrast: float) -> Pixels:
    """A grey picture as BGR, its ink made as dark as print, or as light on dark paper. ``contrast``: levels between."""
    paper = float(np.median(grey))
    off = (grey.astype(np.float32) - paper) * (DARK / contrast)
    shown = np.clip((255.0 if paper > 127 else 0.0) + off, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR), np.uint8)


def without(part: Pixels, quads: Quads) -> Pixels:
    """A stretch of the picture without the pieces of text that are known."""
    paper = np.median(part.reshape(-1, 3), axis=0)
    bare = part.copy()
    for quad in quads:
        if quad[:, 0].max() > 0 and quad[:, 1].max() > 0 and quad[:, 0].min() < part.shape[1]:
            cv2.fillConvexPoly(bare, np.asarray(quad, np.int32), paper.tolist())
    return bare


def enlarged(part: Pixels, factor: float) -> Pixels:
    return np.asarray(cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))


def seen_in(strips: Sequence[Strip], detect: Detect) -> Iterator[Quads]:
    """The pieces of text in strips, put under each other, in pixels of the picture that they were cut from."""
    tops, top = [], GAP
    for strip in strips:
        tops.append(top)
        top += strip.pixels.shape[0] + GAP
    sheet = np.full((top, max(strip.pixels.shape[1] for strip in strips) + 2 * GAP, 3), 255, np.uint8)
    for strip, place in zip(strips, tops, strict=True):
        sheet[place : place + strip.pixels.shape[0], GAP : GAP + strip.pixels.shape[1]] = strip.pixels
    for quad in detect(sheet).quads:
        middle = float(quad[:, 1].mean())
        home = max((i for i, place in enumerate(tops) if place - GAP / 2 <= middle), default=0)
        strip = strips[home]
        yield np.asarray((quad - [GAP, tops[home]]) / strip.factor + [strip.x, strip.y], np.float32)
