"""What is done to a picture before the models see it."""

from __future__ import annotations

import numpy as np

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
