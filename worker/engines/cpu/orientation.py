"""Which way up a page lies, and how far it is tilted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worker.engines.cpu.detection import Detected, Pixels, Quads
from worker.engines.cpu.recognition import TextModels, crop
from worker.engines.cpu.second_recogniser import SecondRecogniser

VOTERS = 16
WITNESSES = 8
SURE = 0.5


def sides(quads: Quads) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Widths and heights of the quadrilaterals, in pixels."""
    return (
        np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1).astype(np.float32),
        np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1).astype(np.float32),
    )


def mostly_tall(quads: Quads) -> bool:
    """Whether the long lines stand upright, weighed by their length."""
    widths, heights = sides(quads)
    long, short = np.maximum(widths, heights), np.minimum(widths, heights)
    lines = float(long[long > 1.5 * short].sum())
    return float(long[heights > 1.5 * widths].sum()) > 0.5 * lines


def turned(image: Pixels, quarters: int) -> Pixels:
    """The image turned clockwise by so many quarter turns."""
    return np.ascontiguousarray(np.rot90(image, -quarters))


def longest(quads: Quads, count: int) -> list[int]:
    """The places of the widest lines."""
    return [int(i) for i in np.argsort(-sides(quads)[0], kind="stable")[:count]]


def upright(
    image: Pixels, models: TextModels, second: SecondRecogniser | None, checkpoint: Callable[[], None]
) -> tuple[Pixels, int, Detected]:
    """The page turned upright, by how many clockwise quarter turns (0 to 3), and its text lines.

    Tall lines tell a quarter turn; the line classifier's vote, or the recognisers' confidence, tells top from bottom.
    Detection is the dearest step of a page: an upright page is looked at once.
    """
    quarters, found = 0, models.detect(image, checkpoint)
    if mostly_tall(found.quads):
        checkpoint()
        quarters, image = 1, turned(image, 1)
        found = models.detect(image, checkpoint)
    checkpoint()
    if len(found) and is_upside_down(image, found, models, second, checkpoint):
        quarters, image = quarters + 2, turned(image, 2)
        found = models.detect(image, checkpoint)
    return image, quarters, found


def is_upside_down(
    image: Pixels, found: Detected, models: TextModels, second: SecondRecogniser | None, checkpoint: Callable[[], None]
) -> bool:
    lines = [crop(image, found.quads[i], found.bends.get(i)) for i in longest(found.quads, VOTERS)]
    vote = models.upside_down(lines)
    if abs(vote) >= SURE and (vote < 0 or second is None):  # of Arabic, for one, the classifier is sure, and wrong
        return vote > 0
    # A stretch of twelve line heights says enough, and is quick.
    few = [np.ascontiguousarray(line[:, : 12 * line.shape[0]]) for line in lines[:WITNESSES]]
    flipped = [np.ascontiguousarray(line[::-1, ::-1]) for line in few]
    return confidence(flipped, models, second, checkpoint) > confidence(few, models, second, checkpoint)


def confidence(
    lines: list[Pixels], models: TextModels, second: SecondRecogniser | None, checkpoint: Callable[[], None]
) -> float:
    """Of all lines together; of two recognisers the surer one counts."""
    sure = []
    for line in lines:
        checkpoint()
        sure.append(models.recognise(line).score)
    more = [text.score for text in second.read(lines, checkpoint)] if second else sure
    return sum(map(max, sure, more))


def tilt(quads: Quads) -> float:
    """Angle of the text lines in radians: the median, weighed by length; nought below 0.15 degrees."""
    if not len(quads):
        return 0.0
    widths, heights = sides(quads)
    level = widths > 3 * heights
    if not level.any():
        return 0.0
    along = (quads[:, 1] - quads[:, 0])[level]
    angles = np.arctan2(along[:, 1], along[:, 0])
    order = np.argsort(angles)
    total = np.cumsum(widths[level][order])
    angle = float(angles[order][np.searchsorted(total, total[-1] / 2)])
    return angle if abs(angle) >= np.radians(0.15) else 0.0


def levelled(quads: Quads, angle: float, width: int, height: int) -> Quads:
    """The corners as they would lie if the page were turned back by ``angle`` around its middle."""
    middle = np.array([width / 2, height / 2], np.float32)
    c, s = np.cos(-angle), np.sin(-angle)
    rotation = np.array([[c, s], [-s, c]], np.float32)
    return np.asarray((quads - middle) @ rotation + middle, np.float32)
