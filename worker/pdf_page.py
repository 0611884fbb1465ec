"""One page of a PDF as pixels, in a child process: at the resolution of what is on it, with its form's values."""

from __future__ import annotations

import itertools
import logging
import math
import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ctypes import byref, c_double, c_int
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from pypdfium2 import raw

from shared.contract.document import Reason, Shortfall
from shared.errors import PreprocessingError
from shared.upload_check import open_pdf
from worker.page_streams import cut_off
from worker.pdf_annotations import is_without_fields, made_visible
from worker.pictures import LONGEST, Size, side_that_counts

POINTS_PER_INCH = 72
LETTER = (0.0, 0.0, 612.0, 792.0)
"""What Acrobat takes for the sheet of a page whose boxes are of no use, in points."""

LARGEST_SHEET = 1300
"""Points of the longest side that is read in one piece (A3 has 1191); larger sheets are cut up at their own scale."""

SHEET_DPI = 200
"""Resolution up to which pictures on such large sheets are followed."""

PICTURE_DPI, PICTURE_SIDE = 220, 2600
"""Pictures on other pages are followed up to this resolution, or so many pixels of the page: engines use no more."""

TRUE_DPI = 100
"""A large sheet that is one picture of less is no large sheet: its picture was put down as pixels = points."""

SMALLEST_PICTURE = 1000
"""Pixels that the longer side of a page has at least: a business card, or a page measured in other units."""

LETTER_HEIGHT = 14
"""Pixels from line to line that small print gets at least."""

FEWEST_LETTER_HEIGHT = 7
"""Pixels of small print that nobody can read any more."""

LEAST_LETTER_HEIGHT = 0.5
"""Points below which a letter stands for a shape of another font, or for nothing."""

FEW = 0.01
"""Share of a page's letters that may be so small: dots and fillers, which nobody is to read."""

FOLLOWED = 0.25
"""Share of the page that a picture must cover for the page to be drawn at its resolution."""

logging.getLogger("pypdfium2").setLevel(logging.ERROR)  # it warns of every XFA form, of which the page says so itself

MOST_OBJECTS = 3000
MOST_LETTERS = 400


@dataclass(frozen=True, slots=True)
class Sheet:
    """What there is to know before a page is drawn: ``width`` and ``height`` in points.

    ``picture``: pixels per point of the largest picture on it, 0 without one; ``letters``: points of its small print,
    0 without text; ``heights``: points from line to line of some letters here and there that can be seen.
    """

    width: float
    height: float
    picture: float = 0.0
    letters: float = 0.0
    heights: tuple[float, ...] = ()

    @property
    def is_large(self) -> bool:
        if side_that_counts(self.width, self.height) <= LARGEST_SHEET:
            return False
        return not self.is_bare_picture

    @property
    def is_bare_picture(self) -> bool:
        """Whether its measures are a picture's pixels, and say nothing of how large the writing is."""
        return 0 < self.picture < TRUE_DPI / POINTS_PER_INCH and not self.letters


@dataclass(frozen=True, slots=True)
class OpenPage:
    """``page``: PDFium's; ``is_cut``: whether what it is drawn from is damaged, or cut off before its end."""

    page: Any
    is_cut: bool


@contextmanager
def open_page(data: bytes | mmap, number: int, password: str | None) -> Iterator[OpenPage]:
    """Page ``number`` (from 1) of a PDF, ready to be drawn with its form fields."""
    with open_pdf(data, password) as pdf:
        pdf.init_forms()  # before any page is loaded, or the values of the fields are not drawn
        if number > len(pdf):
            raise PreprocessingError(f"there is no page {number}")
        is_cut = cut_off(pdf, number)  # before anything is changed: PDFium mends what it writes anew
        with closing(pdf[number - 1]) as page:
            if not is_changed(page):
                yield OpenPage(page, is_cut)
                return
        with closing(pdf[number - 1]) as page:
            if not has_area(page):
                raise PreprocessingError(f"page {number} has no area")
            yield OpenPage(page, is_cut)


def is_changed(page: Any) -> bool:
    """Whether something had to be changed for the page to be drawn as it is meant; it must then be loaded again."""
    again = made_visible(page)
    if not has_area(page):
        give_box(page)
        return True
    return again


def has_area(page: Any) -> bool:
    width, height = page.get_size()
    return bool(width > 0 and height > 0 and math.isfinite(width * height))


def give_box(page: Any) -> None:
    """Show the MediaBox where the CropBox lies off the sheet or is empty, and a letter where that is of no use either.

    Takes effect when the page is loaded again.
    """
    left, bottom, right, top = page.get_mediabox(fallback_ok=False) or LETTER
    box = (left, bottom, right, top) if right - left > 0 and top - bottom > 0 else LETTER
    page.set_mediabox(*box)
    page.set_cropbox(*box)


def survey(page: Any) -> Sheet:
    width, height = page.get_size()
    heights, shown = letter_heights(page)
    small_print = statistics.quantiles(heights, n=10)[0] if len(heights) > 1 else 0.0
    return Sheet(width, height, picture_scale(page, width * height), small_print, tuple(shown))


def picture_scale(page: Any, area: float) -> float:
    """Pixels per point of the sharpest picture among those that cover much of the page."""
    return max((scale for scale, share in _pictures(page, area) if share >= FOLLOWED), default=0.0)


def _pictures(page: Any, area: float) -> Iterator[tuple[float, float]]:
    """Of each picture: pixels per point, and the share of the page that it covers."""
    for item in itertools.islice(page.get_objects(max_depth=4), MOST_OBJECTS):
        if item.type != raw.FPDF_PAGEOBJ_IMAGE:
            continue
        matrix = placed(item)
        covered = abs(matrix.a * matrix.d - matrix.b * matrix.c)
        width, height = item.get_px_size()
        if covered > 0 and width and height:
            yield math.sqrt(width * height / covered), covered / area


def placed(item: Any) -> Any:
    """The matrix that takes a picture's unit square to the page, through the forms around it."""
    matrix = item.get_matrix()
    while (item := item.container) is not None:
        matrix = matrix.multiply(item.get_matrix())
    return matrix


def letter_heights(page: Any) -> tuple[list[float], list[float]]:
    """Points from line to line of ``MOST_LETTERS`` of what is written on the page at most; and of those among them that
    are letters or digits and can be seen."""
    with closing(page.get_textpage()) as text:
        count = text.count_chars()
        places = range(0, count, max(1, count // MOST_LETTERS))
        heights = [(place, height) for place in places if (height := _height(text, place)) > 0]
        shown = [height for place, height in heights if height >= LEAST_LETTER_HEIGHT and _is_shown(text, place)]
        return [height for _, height in heights], shown


def _is_shown(text: Any, index: int) -> bool:
    if not chr(raw.FPDFText_GetUnicode(text, index)).isalnum():
        return False
    item = raw.FPDFText_GetTextObject(text, index)
    return bool(item) and raw.FPDFTextObj_GetTextRenderMode(item) != raw.FPDF_TEXTRENDERMODE_INVISIBLE


def _height(text: Any, index: int) -> float:
    box = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(text, index, byref(box)):
        return 0.0
    return float(max(abs(box.top - box.bottom), abs(box.right - box.left)))  # the wider where the line runs upwards


def scale(sheet: Sheet, size: Size) -> float:
    """Pixels per point: as many as what is on the page calls for, within the caps."""
    base = size.dpi / POINTS_PER_INCH
    longest = max(sheet.width, sheet.height)
    small_print = LETTER_HEIGHT / sheet.letters if sheet.letters else 0.0
    most = min(math.sqrt(size.pixels / (sheet.width * sheet.height)), LONGEST / longest)
    if sheet.is_large:
        return min(max(base, min(sheet.picture, SHEET_DPI / POINTS_PER_INCH)), most)
    side = size.side / side_that_counts(sheet.width, sheet.height)
    if sheet.is_bare_picture and longest > LARGEST_SHEET:
        return min(sheet.picture, most, side)
    followed = min(sheet.picture, max(PICTURE_DPI / POINTS_PER_INCH, PICTURE_SIDE / longest))
    return min(max(base, followed, small_print, SMALLEST_PICTURE / longest), most, side)


def shortfall(document: Any, sheet: Sheet, drawn: float) -> Shortfall | None:
    """What the picture cannot show of the page. ``drawn``: its pixels per point."""
    if is_dynamic(document):
        return Shortfall(reason=Reason.XFA_FORM, missing=1.0)
    if sheet.is_large and is_too_small(sheet, drawn):
        return Shortfall(reason=Reason.TOO_SMALL)
    tiny = sum(height * drawn < FEWEST_LETTER_HEIGHT for height in sheet.heights)
    if tiny > FEW * len(sheet.heights):
        return Shortfall(reason=Reason.TOO_SMALL, missing=round(tiny / len(sheet.heights), 3))
    return None


def not_drawn(missing: float, *, is_cut: bool = False) -> Shortfall | None:
    """What to say where so much of a page is in the file and cannot be drawn. ``is_cut``: nobody can say how much."""
    if not missing:
        return Shortfall(reason=Reason.NOT_DRAWN) if is_cut else None
    return Shortfall(reason=Reason.NOT_DRAWN, missing=round(max(missing, 0.001), 3))


def is_dynamic(document: Any) -> bool:
    """Whether a program in the file makes the form: it says so, or there is nothing else to fill in."""
    kind = document.get_formtype()
    return kind == raw.FORMTYPE_XFA_FULL or (kind == raw.FORMTYPE_XFA_FOREGROUND and is_without_fields(document))


def is_too_small(sheet: Sheet, drawn: float) -> bool:
    """Whether writing of a large sheet is lost: by its letters where it has any, else by the picture on it."""
    if sheet.letters:
        return drawn * sheet.letters < FEWEST_LETTER_HEIGHT
    return drawn < TRUE_DPI / POINTS_PER_INCH and sheet.picture > 2 * drawn


def pixel_matrix(page: Any, width: int, height: int) -> tuple[float, float, float, float, float, float]:
    """``(a, b, c, d, e, f)``: a point ``(x, y)`` of the page is drawn at ``(a x + c y + e, b x + d y + f)``.

    ``width`` and ``height``: the picture's, in pixels. PDFium's own mapping rounds to whole pixels, so it is asked for
    the corners of a picture 64 times as large.
    """
    origin, right, up = (_device(page, 64 * width, 64 * height, *at) for at in ((0, 0), (1000, 0), (0, 1000)))
    per = 64 * 1000
    return (
        (right[0] - origin[0]) / per, (right[1] - origin[1]) / per,
        (up[0] - origin[0]) / per, (up[1] - origin[1]) / per, origin[0] / 64, origin[1] / 64,
    )  # fmt: skip


def _device(page: Any, width: int, height: int, x: float, y: float) -> tuple[int, int]:
    across, down = c_int(), c_int()
    raw.FPDF_PageToDevice(page, 0, 0, width, height, 0, c_double(x), c_double(y), byref(across), byref(down))
    return across.value, down.value
