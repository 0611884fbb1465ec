"""What a PDF page holds and does not show: pictures that cannot be decoded, letters that no font here has.

PDFium leaves both out without a word, so that such a page would pass for blank, or for whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from ctypes import addressof, c_float
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pypdfium2 import PdfiumError, raw

MOST_OBJECTS = 3000
MOST_LETTERS = 20_000

SMALLEST = 0.01
"""Share of the page that a picture must cover to be missed."""

PLAIN = 16
"""Levels (of 255) within which paper is one colour."""

HALF, ALL = 0.4, 0.98
"""Of a picture's area, what must be of one colour if its lower half is missing, or if nothing of it was drawn."""

WHOLE = 0.98
"""Share of the bytes of a picture that is only packed, below which rows of it are missing."""

END_OF_JPEG, ENDS_WITHIN = b"\xff\xd9", 2048
"""Every JPEG ends with this mark; some programs put a few bytes behind it."""

Pixels = NDArray[np.uint8]


def objects_of(page: Any) -> list[Any]:
    """Text, pictures and lines of a page, the first ``MOST_OBJECTS``."""
    return [*itertools.islice(page.get_objects(max_depth=4), MOST_OBJECTS)]


def lost_pictures(page: Any, objects: Sequence[Any], pixels: Pixels) -> float:
    """The share of the page under pictures that are damaged or of an unknown kind. ``pixels``: the page as drawn."""
    width, height = page.get_size()
    pictures = [item for item in objects if item.type == raw.FPDF_PAGEOBJ_IMAGE]
    shares = [(item, covered(item) / (width * height)) for item in pictures]
    large = [(item, share) for item, share in shares if share >= SMALLEST]
    plain = plain_share(pixels) if large else 0.0
    return float(min(1.0, sum(share for item, share in large if is_lost(item, share, plain))))


def covered(item: Any) -> float:
    """Area of a picture on the page, in square points."""
    matrix = item.get_matrix()
    while (item := item.container) is not None:
        matrix = matrix.multiply(item.get_matrix())
    return float(abs(matrix.a * matrix.d - matrix.b * matrix.c))


def plain_share(pixels: Pixels) -> float:
    """How much of the page is of the colour that most of it has."""
    levels = pixels[::16, ::16, :3].max(axis=2) // PLAIN
    return float(np.bincount(levels.ravel()).max() / levels.size)


def is_lost(item: Any, share: float, plain: float) -> bool:
    """Whether a picture cannot be decoded to its end. Looked into only where the page has room for what is missing:
    to decode a scan once more takes as long as to draw it. ``plain``: of ``plain_share``."""
    if plain < HALF * share:
        return False
    if "DCTDecode" in item.get_filters()[-1:] and END_OF_JPEG not in bytes(item.get_data())[-ENDS_WITHIN:]:
        return True
    return (plain >= ALL * share and is_undecodable(item)) or is_short(item)


def is_undecodable(item: Any) -> bool:
    try:
        with closing(item.get_bitmap(render=False)):
            return False
    except PdfiumError:
        return True


def is_short(item: Any) -> bool:
    """Whether a picture that is only packed, in no picture format, has fewer bytes than its size calls for."""
    if not set(item.get_filters()) <= set(item.SIMPLE_FILTERS):
        return False
    about, given = item.get_metadata(), len(item.get_data(decode_simple=True))
    # PDFium tells the bits of its own pixels: fewer in the file become 8.
    rows = [(about.width * about.bits_per_pixel // unpacked + 7) // 8 for unpacked in (1, 2, 4, 8)]
    return given < WHOLE * rows[0] * about.height and not any(
        WHOLE * row * about.height <= given <= (row + 1) * about.height for row in rows[1:]
    )


def lost_letters(page: Any, objects: Sequence[Any]) -> float:
    """The share of the page's letters for which there is no glyph: their font is not in the file, and nothing like it
    on this machine."""
    if len(objects) < MOST_OBJECTS and all(map(brings_its_font, objects)):
        return 0.0
    with closing(page.get_textpage()) as text:
        seen = [*itertools.islice(_letters(text), MOST_LETTERS)]
    return sum(not drawn for drawn in seen) / len(seen) if seen else 0.0


def brings_its_font(item: Any) -> bool:
    """True of what is no text, too."""
    if item.type != raw.FPDF_PAGEOBJ_TEXT:
        return True
    font = raw.FPDFTextObj_GetFont(item)
    return bool(font) and raw.FPDFFont_GetIsEmbedded(font) == 1


def _letters(text: Any) -> Iterator[bool]:
    """Of each letter and digit that is to be seen, whether it is drawn."""
    known: dict[tuple[int, int], bool] = {}
    for index in range(text.count_chars()):
        code = raw.FPDFText_GetUnicode(text, index)
        if not chr(code).isalnum():
            continue
        item = raw.FPDFText_GetTextObject(text, index)
        if not item or raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
            continue
        font = raw.FPDFTextObj_GetFont(item)
        key = (addressof(font.contents), code) if font else (0, code)
        if key not in known:
            known[key] = _has_glyph(font, code)
        yield known[key]


def _has_glyph(font: Any, code: int) -> bool:
    """Fonts in the file are taken to have their letters; those of Type 3 have no outlines to ask for."""
    if not font or raw.FPDFFont_GetIsEmbedded(font) == 1:
        return True
    return bool(raw.FPDFFont_GetGlyphPath(font, code, c_float(12)))
