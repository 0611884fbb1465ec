"""Pictures on their way to an engine, in a child process: upright, RGB, no larger than an engine can use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from PIL import Image, ImageOps

from shared.errors import PreprocessingError
from shared.upload_check import check_area, frames, open_image

LONGEST = 32_000
"""Pixels of a picture's longest side, however narrow it is."""

LONG_ASPECT = 2.5
"""A picture longer than this times its width is read in parts (``worker.engines.parts``), so only its width counts."""

LIGHT = 160
DARK_SHARE = 0.01
"""Transparent pictures with less than this share of visible pixels darker than ``LIGHT`` are light writing."""


@dataclass(frozen=True, slots=True)
class Size:
    """What pictures are to be: ``dpi`` of PDF pages at least, ``side`` and ``pixels`` at most.

    ``image_pixels``: the area a picture may have as it was uploaded.
    """

    dpi: int
    side: int
    pixels: int
    image_pixels: int


def side_that_counts(width: float, height: float) -> float:
    """The longer side, or for a long strip what a page of its width would have."""
    return min(max(width, height), LONG_ASPECT * min(width, height))


def reduction(width: int, height: int, size: Size) -> float:
    """The factor, at most 1, that brings a picture within the caps."""
    by_area = math.sqrt(size.pixels / (width * height))
    return min(1.0, size.side / side_that_counts(width, height), by_area, LONGEST / max(width, height))


def picture(data: bytes | mmap, kind: str, number: int, size: Size) -> Image.Image:
    """Page ``number`` of an image upload; raises ``FileValidationError``, or ``PreprocessingError`` without one."""
    with open_image(data, kind) as image:
        for page in frames(image, kind):
            check_area(image, size.image_pixels)
            if page == number:
                return rgb(ImageOps.exif_transpose(reduced(image, size)))
    raise PreprocessingError(f"there is no page {number}")


def reduced(image: Image.Image, size: Size) -> Image.Image:
    """The picture within the caps. Reduced before anything else is done with it: a copy of a large one is costly."""
    factor = reduction(*image.size, size)
    if image.format == "JPEG" and factor < 0.5:
        image.draft(None, (math.ceil(2 * factor * image.width), math.ceil(2 * factor * image.height)))
    image.load()  # a TIFF turns itself upright here
    factor = reduction(*image.size, size)
    if factor == 1:
        return image
    target = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return reducible(image).resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)


def reducible(image: Image.Image) -> Image.Image:
    """In a mode whose pixels can be averaged."""
    if image.mode in {"1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"}:
        return image.convert("L") if image.mode == "1" else image
    if image.mode.startswith("I;16"):
        return image.convert("I")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit grey scaled (Pillow alone would clip it to white), transparency on white or black."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "black" if is_light(layer) else "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def is_light(layer: Image.Image) -> bool:
    """Whether what can be seen of an RGBA picture is light all over, and would vanish on white paper."""
    step = max(1, max(layer.size) // 1000)
    small = np.asarray(layer)[::step, ::step]
    visible = small[..., 3] > 127
    if not visible.any() or visible.all():
        return False
    shades = small[visible][:, :3].astype(np.uint16).sum(axis=1) // 3
    return bool((shades < LIGHT).mean() < DARK_SHARE)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        # 32-bit grey has no agreed white: 16 bits' (PNG is opened so by some Pillows), or the brightest pixel's.
        _, high = image.getextrema()
        top = max(65535.0 if image.mode == "I" else 1.0, float(high))  # type: ignore[arg-type]
    wide = image.convert("I") if image.mode != "F" else image
    return wide.convert("F").point(lambda value: value * (255.0 / top) + 0.0).convert("L")
