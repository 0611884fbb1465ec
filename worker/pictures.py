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

PHOTOMETRIC, SAMPLE_FORMAT = 262, 339
SIGNED = 2
"""Tags of a TIFF, and a value of the second."""

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
        negative = is_negative(image)
        upright = rgb(ImageOps.exif_transpose(reduced(image, size)))
        return ImageOps.invert(upright) if negative else upright


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
    meant = as_meant(image)
    factor = reduction(*meant.size, size)
    if factor == 1:
        return meant
    target = max(1, round(meant.width * factor)), max(1, round(meant.height * factor))
    return reducible(meant).resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)


def is_negative(image: Image.Image) -> bool:
    """Whether the lowest level of a TIFF is white and Pillow leaves that so, as it does beyond 8 bits."""
    if image.format != "TIFF" or image.mode[0] not in "IF":
        return False
    white_is_zero: bool = image.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]  # a TIFF has it
    return white_is_zero


def as_meant(image: Image.Image) -> Image.Image:
    """A TIFF's levels in the order in which it means them: Pillow takes signed bytes for unsigned ones, and unsigned
    32 bits for signed ones. What is no number is white."""
    if image.format != "TIFF":
        return image
    signed = SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ())  # type: ignore[attr-defined]
    if image.mode == "L" and signed:
        return image.point([level ^ 0x80 for level in range(256)])
    if image.mode == "I" and not signed and np.asarray(image).min() < 0:
        return Image.fromarray(np.asarray(image).view(np.uint32).astype(np.float32))
    if image.mode == "F" and not np.isfinite(levels := np.asarray(image)).all():
        numbers = levels[np.isfinite(levels)]
        return Image.fromarray(np.where(np.isfinite(levels), levels, numbers.max() if numbers.size else 0.0))
    return image


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
    low, top = min(0.0, low), white_level(image.mode, high)
    if image.mode.startswith("I;16"):
        low = 0.0
    elif low < 0:
        top = high
    factor = 255.0 / max(top - low, 1e-9)
    return wide.convert("F").point(lambda value: value * factor - low * factor).convert("L")


def white_level(mode: str, high: float) -> float:
    """The level that is white in a picture whose lightest is ``high``.

    Beyond 16 bits there is no agreed one: 16 bits' (PNG is opened so by some Pillows), or the lightest there is.
    """
    usual, dim = {"F": (1.0, DIM / 65536), "I": (65535.0, 32768.0)}.get(mode, (65535.0, float(DIM)))
    return high if 0 < high < dim else max(usual, high)
