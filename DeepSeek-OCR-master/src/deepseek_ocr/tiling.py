"""A page's picture as the views the model sees: 8-bit RGB squares, the same pixels as the reference processor's.

Needs pillow. ``normalised`` says how the model wants the numbers; whoever holds the tensors does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepseek_ocr.modes import Grid, Mode

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = (127, 127, 127)
"""What a page is padded with."""

MEAN = STD = 0.5


def normalised(value: int) -> float:
    """An 8-bit value as the model wants it, -1 to 1: ``(value / 255 - 0.5) / 0.5``."""
    return (value / 255 - MEAN) / STD


def whole(image: Image, mode: Mode) -> Image:
    """The whole-page view, ``mode.base`` pixels square: padded in grey and centred, or stretched in small modes."""
    from PIL import ImageOps

    side = (mode.base, mode.base)
    return image.resize(side) if mode.squash else ImageOps.pad(image, side, color=GREY)


def tiles(image: Image, mode: Mode, grid: Grid) -> Iterator[Image]:
    """The tiles row by row, left to right; the page is stretched to fill the grid. None for a 1x1 grid."""
    if mode.tile is None or grid == (1, 1):
        return
    columns, rows = grid
    size = mode.tile
    stretched = image.resize((columns * size, rows * size))
    for index in range(columns * rows):
        x, y = index % columns * size, index // columns * size
        yield stretched.crop((x, y, x + size, y + size))
