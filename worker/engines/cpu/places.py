"""Where a page's lines lie once its tilt and its bends are taken out: what the reading order is found by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.engines.cpu.detection import Detected, Floats, Quads
from worker.engines.cpu.joining import mended
from worker.engines.cpu.lines import Line, is_leftwards, mirrored
from worker.engines.cpu.orientation import levelled, tilt
from worker.engines.cpu.recognition import Text

MIN_SCORE = 0.4


class Places:
    """The places of the lines in ``found``; all in pixels of the page, which is ``size`` wide and high.

    A page in Arabic or Hebrew is mirrored, so that its lines and columns begin on the left like any other's.
    """

    def __init__(self, found: Detected, size: tuple[int, int]) -> None:
        self._found, self._width = found, size[0]
        self._level = unbent(found, levelled(found.quads, tilt(found.quads), *size))

    def lines(self, texts: Sequence[Text]) -> dict[int, Line]:
        """By their index, the lines that were read with some confidence."""
        kept = [i for i, text in enumerate(texts) if text.text.strip() and text.score >= MIN_SCORE]
        lines = {i: line_of(self._level[i], self._found.quads[i], texts[i]) for i in kept}
        return {i: mirrored(line, self._width) for i, line in lines.items()} if is_leftwards(lines.values()) else lines

    def letters(self, i: int) -> float:
        """About how many letters line ``i`` has room for."""
        x0, y0, x1, y1 = extent(self._level[i])
        return 2 * max(x1 - x0, y1 - y0) / max(1.0, min(x1 - x0, y1 - y0))


def line_of(level: Quads, corners: Quads, text: Text) -> Line:
    x0, y0, x1, y1 = extent(level)
    return Line(x0, y0, x1, y1, mended(text.text), extent(corners), None, text.score, text.turned)


def unbent(found: Detected, level: Quads) -> Quads:
    """The corners as they would lie if bent lines were straight; their common bend is the page's."""
    if not found.bends:
        return level
    bends = list(found.bends.values())
    widths = np.array([bend.x1 - bend.x0 for bend in bends])
    a, b = (middle_of(np.array([getattr(bend, name) for bend in bends]), widths) for name in "ab")
    flat = level.copy()
    for i, bend in found.bends.items():
        x = (bend.x0 + bend.x1) / 2
        y, half = bend.middle(x) - (a * x + b) * x, bend.height / 2
        flat[i] = [[bend.x0, y - half], [bend.x1, y - half], [bend.x1, y + half], [bend.x0, y + half]]
    for i in set(range(len(flat))) - set(found.bends):
        x = float(found.quads[i][:, 0].mean())
        flat[i, :, 1] -= (a * x + b) * x
    return flat


def middle_of(values: Floats, weights: Floats) -> float:
    """The weighted median."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def extent(corners: Quads) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
