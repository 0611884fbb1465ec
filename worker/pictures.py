"""Pictures on their way to an engine, in a child process: upright, RGB, no larger than an engine can use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from PIL import Image, ImageOps

from shared.sniff import AVIF, GIF, PNG, WEBP
from shared.upload_check import check_area, open_image

LONGEST = 32_000
"""Pixels of a picture's longest side, however narrow it is."""

LONG_ASPECT = 2.5
"""A picture longer than this times its width is read in parts (``worker.engines.parts``), so only its width counts."""

LIGHT, WHITE = 160, 200
FEW = 0.01
"""Transparent pictures with less than this share of visible pixels darker than ``LIGHT`` are light writing, and those
with less lighter than ``WHITE`` have none."""

GREYS = (128, 176, 80, 208, 48)
"""Paper for what has both; the one that the fewest pixels are close to."""

DIM = 16384
"""A 16-bit picture without anything lighter holds fewer bits (cameras and X-rays have 10 to 14), not a black page."""

FRAMES = 20
"""Pictures of an animation that are looked at for one with something on it."""


ANIMATED = frozenset({GIF, PNG, WEBP, AVIF})


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


def picture(data: bytes | mmap, kind: str, size: Size, frame: int | None = None) -> Image.Image:
    """One page of an image upload; raises ``FileValidationError``. ``frame``: of a TIFF, as for ``open_image``."""
    with open_image(data, kind, frame) as image:
        check_area(image, size.image_pixels)
        if kind in ANIMATED:
            go_to_first_shown(image)
        return rgb(ImageOps.exif_transpose(reduced(image, size)))


def go_to_first_shown(image: Image.Image) -> None:
    """Of an animation, go to the first picture that is not of one colour: many fade in."""
    count = min(FRAMES, getattr(image, "n_frames", 1))
    for number in range(count if count > 1 else 0):
        image.seek(number)
        if has_content(image.convert("RGB")):
            return
    if count > 1:
        image.seek(0)


def has_content(image: Image.Image) -> bool:
    """Whether an RGB picture is of more than one colour."""
    return any(low < high for low, high in image.getextrema())  # type: ignore[misc]


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
        bare = layer.convert("RGB")
        if not layer.getchannel("A").getbbox() and has_content(bare):
            return bare  # nothing would be seen: a fourth channel that somebody left empty
        paper = Image.new("RGBA", layer.size, (paper_shade(layer),) * 3 + (255,))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def paper_shade(layer: Image.Image) -> int:
    """Paper (0 black, 255 white) on which nothing that can be seen of an RGBA picture vanishes."""
    step = max(1, max(layer.size) // 1000)
    small = np.asarray(layer)[::step, ::step]
    visible = small[..., 3] > 127
    if not visible.any() or visible.all():
        return 255
    shades = small[visible][:, :3].astype(np.int16).sum(axis=1) // 3
    if (shades < LIGHT).mean() < FEW:
        return 0
    if (shades > WHITE).mean() < FEW:
        return 255
    return min(GREYS, key=lambda grey: int((np.abs(shades - grey) < 40).sum()))


def _eight_bit(image: Image.Image) -> Image.Image:
    wide = image.convert("I") if image.mode != "F" else image
    low, high = (float(level) for level in wide.getextrema())  # type: ignore[arg-type]
    if image.mode.startswith("I;16"):
        low, top = 0.0, high if 0 < high < DIM else 65535.0
    else:
        # 32-bit grey has no agreed white: 16 bits' (PNG is opened so by some Pillows), or the brightest pixel's.
        low, top = min(0.0, low), max(65535.0 if image.mode == "I" else 1.0, high)
        top = high if low < 0 else top
    factor = 255.0 / max(top - low, 1e-9)
    return wide.convert("F").point(lambda value: value * factor - low * factor).convert("L")
