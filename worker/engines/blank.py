"""Blank pages, recognised before they cost an engine anything.

A mistake one way loses a page, the other way costs a second: in doubt a page is not blank.
"""

from __future__ import annotations

from PIL import Image, ImageChops

SHRINK = 4
"""Averaging 4 x 4 pixels takes a scanner's noise down to a quarter and leaves strokes visible."""

SHADE = 16
"""The paper's own shade is what is left after averaging 16 x 16 of those."""

FAINTEST, FAINTEST_ON_EVEN = 5, 1
"""Levels (of 255) beyond which a mean is off its surroundings enough to count as ink: on paper as a scanner sees it,
and on paper that is of one colour to the last pixel."""

EVEN = 0.6
"""Share of the pixels that are of one level in a page that was never on paper."""

SPECKS = 2e-5
"""Share of the page that may be specks of dust."""


def is_blank(image: Image.Image) -> bool:
    """Is there nothing to read? White, coloured, shaded and slightly noisy paper is blank; faint print is not."""
    return _is_blank(image, FAINTEST_ON_EVEN)


def is_blank_to_the_eye(image: Image.Image) -> bool:
    """Is there nothing that can be seen without more contrast?"""
    return _is_blank(image, FAINTEST)


def _is_blank(image: Image.Image, on_even: int) -> bool:
    small = image.reduce(SHRINK)
    sample = image.resize(small.size, Image.Resampling.NEAREST)
    if not _is_even(small.convert("L"), sample.convert("L"), on_even):
        return False
    # Red on green can be equally light.
    channels = zip(small.convert("RGB").split(), sample.convert("RGB").split(), strict=True)
    return all(_is_even(channel, raw, on_even) for channel, raw in channels)


def _is_even(small: Image.Image, sample: Image.Image, on_even: int) -> bool:
    """``sample``: some of the pixels that ``small`` has the means of."""
    paper = small.reduce(SHADE).resize(small.size, Image.Resampling.BILINEAR)
    off = ImageChops.difference(small, paper).histogram()
    levels = sample.histogram()
    faintest = on_even if max(levels) >= EVEN * sum(levels) else FAINTEST
    return sum(off[faintest + 1 :]) <= 2 + SPECKS * small.width * small.height
