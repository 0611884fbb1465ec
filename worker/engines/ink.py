"""What a page's picture shows against what was read of it, for engines that see no lines of their own.

The ink is counted in cells of ``CELL`` pixels that differ from the paper around them; a cell is explained by a block
whose box, with a margin, covers it.
"""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageChops, ImageDraw

from shared.contract.document import Box, Reason, Shortfall

CELL = 8
SHADE = 16
FAINTEST = 12
"""Levels (of 255) a cell must be off the paper around it."""

MARGIN = 2
"""Cells around a box: the model's boxes are a little tight."""

MISSING = 0.4
"""Share of the ink outside every box from which on a page is not whole. What a model leaves out as it should (running
heads, page numbers, rules) takes 3 to 6 % of a printed page, up to 20 % of a slide with notes by hand."""

FEWEST = 40
"""Cells of ink outside the boxes below which nothing is missing: a stamp, a rule, a hole."""


def shortfall_of(missing: float) -> Shortfall | None:
    """What to say of a page that was read to its end and lacks so much (``unread``)."""
    return Shortfall(reason=Reason.UNREADABLE, missing=missing) if missing >= MISSING else None


def unread(image: Image.Image, boxes: Iterable[Box], *, has_text: bool) -> float:
    """The share of the page's ink that no box explains, 0 to 1; all of it if there is ink and no text.

    ``boxes`` in pixels of ``image``; where there are none, and text, nobody can say: 0.
    """
    ink = _ink(image)
    whole = _count(ink)
    if not has_text:
        return float(whole > 0)
    given = [box for box in boxes if box != (0, 0, *image.size)]
    if not given or not whole:
        return 0.0
    outside = _count(ImageChops.multiply(ink, _uncovered(ink.size, given)))
    return round(outside / whole, 3) if outside >= FEWEST else 0.0


def _ink(image: Image.Image) -> Image.Image:
    """One pixel a cell: 255 where there is ink."""
    small = image.reduce(CELL).convert("L")
    paper = small.reduce(SHADE).resize(small.size, Image.Resampling.BILINEAR)
    return ImageChops.difference(small, paper).point(lambda level: 255 if level > FAINTEST else 0)


def _count(ink: Image.Image) -> int:
    return ink.histogram()[255]


def _uncovered(size: tuple[int, int], boxes: Iterable[Box]) -> Image.Image:
    mask = Image.new("L", size, 255)
    draw = ImageDraw.Draw(mask)
    for x1, y1, x2, y2 in boxes:
        draw.rectangle((x1 // CELL - MARGIN, y1 // CELL - MARGIN, x2 // CELL + MARGIN, y2 // CELL + MARGIN), fill=0)
    return mask
