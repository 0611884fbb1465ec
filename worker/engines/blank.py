"""Blank pages, recognised before they cost an engine anything.

A mistake one way loses a page, the other way costs a second: in doubt a page is not blank.
"""

from __future__ import annotations

from PIL import Image, ImageChops

SHRINK = 4
"""Averaging 4 x 4 pixels takes a scanner's noise down to a quarter and leaves strokes visible."""

SHADE = 16
"""The paper's own shade is what is left after averaging 16 x 16 of those."""

FAINTEST = 5
"""Levels (of 255) a mean must be off its surroundings to count as ink."""

SPECKS = 2e-5
"""Share of the page that may be specks of dust."""


def is_blank(image: Image.Image) -> bool:
    """Is there nothing to read? White, coloured, shaded and slightly noisy paper is blank; faint print is not."""
    small = image.reduce(SHRINK)
    if not _is_even(small.convert("L")):
        return False
    # Red on green can be equally light.
    return all(_is_even(channel) for channel in small.convert("RGB").split())


def _is_even(small: Image.Image) -> bool:
    paper = small.reduce(SHADE).resize(small.size, Image.Resampling.BILINEAR)
    off = ImageChops.difference(small, paper).histogram()
    return sum(off[FAINTEST + 1 :]) <= 2 + SPECKS * small.width * small.height
