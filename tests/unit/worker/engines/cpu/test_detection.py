"""What is done to a picture before the models see it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from worker.engines.cpu import detection


def white(width: int, height: int) -> detection.Pixels:
    return np.full((height, width, 3), 255, np.uint8)


def test_strips_are_padded_to_four_to_one() -> None:
    assert detection.pad_to_aspect(white(4000, 40)).shape == (1000, 4000, 3)
    assert detection.pad_to_aspect(white(40, 4000)).shape == (4000, 1000, 3)
    assert detection.pad_to_aspect(white(1200, 1600)).shape == (1600, 1200, 3)


def test_large_pictures_shrink_and_small_ones_stay() -> None:
    small, scale = detection.shrink(white(6400, 3200), 2000)
    assert (small.shape, scale) == ((1000, 2000, 3), 0.3125)
    assert detection.shrink(white(300, 200), 2000)[1] == 1.0


def test_ink_is_what_differs_from_the_paper() -> None:
    image = white(1000, 800)
    image[300:320, 500:600] = 0
    assert detection.ink(image) == (460, 260, 639, 359)
    assert detection.ink(white(50, 40)) == (0, 0, 50, 40)


def test_long_sides_are_cut_into_pieces_that_overlap() -> None:
    pieces = detection.cuts(19_400, 2000)
    assert (pieces[0][0], pieces[-1][1]) == (0, 19_400)
    assert all(end - begin <= 2000 for begin, end in pieces)
    assert all(a[1] - b[0] == detection.SEAM for a, b in pairwise(pieces))
    assert detection.cuts(1500, 2000) == [(0, 1500)]


def test_a_bend_is_the_same_curve_in_a_larger_picture() -> None:
    bend = detection.Bend(1e-4, 0.02, 30, 10, 900, 40)
    larger = bend.scaled(2.0, 5, 7)
    assert larger.middle(5 + 2 * 300) == pytest.approx(2 * bend.middle(300) + 7)
    assert (larger.x0, larger.x1, larger.height) == (25, 1805, 80)


def patch(curve: float) -> tuple[Any, Any]:
    """The contour of a stroke 600 long and 10 thick, its middle ``curve`` lower than its ends, and its box."""
    mask = np.zeros((200, 700), np.uint8)
    for x in range(50, 650):
        y = round(60 + curve * (1 - ((x - 350) / 300) ** 2))
        mask[y - 5 : y + 5, x] = 1
    contour = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0][0]
    return contour, cv2.boxPoints(cv2.minAreaRect(contour))


def test_a_bent_line_is_told_from_a_straight_one() -> None:
    bend = detection.bend_of(*patch(40))
    assert bend is not None
    assert bend.middle(350) == pytest.approx(99.5, abs=1.5)
    assert bend.middle(60) == pytest.approx(62, abs=3)
    assert detection.bend_of(*patch(0)) is None


def seen(*boxes: tuple[float, float, float, float]) -> detection.Detected:
    quads = [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]] for x0, y0, x1, y1 in boxes]
    return detection.Detected(np.asarray(quads, np.float32).reshape(-1, 4, 2))


def extents(found: detection.Detected) -> list[tuple[float, ...]]:
    return [(*quad.min(axis=0), *quad.max(axis=0)) for quad in found.quads]


def test_one_line_seen_by_two_pieces_is_one_line() -> None:
    whole, lower = seen((10, 100, 500, 130), (10, 140, 500, 170)), seen((10, 141, 500, 169), (10, 180, 500, 210))
    assert extents(detection.joined([whole, lower])) == [(10, 100, 500, 130), (10, 140, 500, 170), (10, 180, 500, 210)]


def test_a_line_that_a_cut_parted_is_put_together() -> None:
    left, right = seen((10, 100, 2000, 130)), seen((1840, 101, 2600, 131))
    assert extents(detection.joined([left, right])) == [(10, 100, 2600, 131)]


def test_lines_beyond_the_limit_are_counted() -> None:
    many = detection.Detected(np.zeros((detection.MOST_LINES + 7, 4, 2), np.float32))
    assert (len(detection.limited(many)), detection.limited(many).dropped) == (detection.MOST_LINES, 7)


def test_small_lines_are_looked_at_more_closely() -> None:
    image = white(4000, 5600)
    small = seen(*[(100, y, 900, y + 20) for y in range(100, 500, 40)])
    large = seen(*[(100, y, 900, y + 60) for y in range(100, 900, 80)])
    assert detection.closer(small, 0.36, image) > 0.36
    assert detection.closer(large, 0.36, image) == 0.36
