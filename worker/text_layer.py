"""The text that a PDF page carries itself, in a child process: taken where it accounts for what is drawn."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from ctypes import byref, c_double
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pypdfium2 import raw

from worker.engines.base import TextPiece
from worker.pdf_page import pixel_matrix

MOST_CHARACTERS = 200_000
UNMAPPED = 0.05
"""Share of unusable characters from which on a layer is left alone: fonts that map to nothing, Arabic, Hebrew."""

UNEXPLAINED = 0.3
"""Share of the page's ink that may lie outside the text: rules, logos, small figures."""

CELL = 8
"""Pixels of a side of the cells in which ink is counted."""

CONTRAST = 48
RULE = 80
"""Pixels of a straight line that is a rule, not writing."""

WORD_GAP, PIECE_GAP = 0.3, 1.2
"""Gaps between letters, in line heights, that part words, and pieces of a line."""

SLANT = 0.1
TURNED = 0.03
"""Share of the letters that may stand on end, on their heads or in a mirror: their lines are not put in order here."""

TORN, FEWEST_TORN = 0.4, 10
"""Share of lone letters among the words, from which on words were torn: spaced out, or written downwards."""

UNSEEN = 4
"""Levels of lightness in a piece's place within which nothing is seen: white on white, covered, switched off."""

MOST_PIXELS = 12_000_000
"""Of larger pictures only every second pixel is looked at, or fewer."""

HYPHENS = frozenset({0x02, 0xAD, 0xFFFE})
"""What PDFium gives for a hyphen at a line's end, besides the hyphen itself."""

Mask = NDArray[np.bool_]
Levels = NDArray[np.int16]
Box = tuple[float, float, float, float]
Matrix = tuple[float, float, float, float, float, float]


@dataclass(slots=True)
class _Line:
    """A piece while its letters come in."""

    text: str = ""
    boxes: list[Box] = field(default_factory=list)

    @property
    def height(self) -> float:
        return self.boxes[-1][3] - self.boxes[-1][1]

    def piece(self) -> TextPiece:
        left, top, right, bottom = zip(*self.boxes, strict=True)
        text = self.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return TextPiece(" ".join(text.split()), (min(left), min(top), max(right), max(bottom)))


def own_text(page: Any, pixels: NDArray[np.uint8], *, is_drawn: bool = True) -> tuple[TextPiece, ...] | None:
    """The text of a page with its places in the picture, or None where that is not readable, or not all that is shown.

    ``pixels``: the picture, (height, width, channels). ``is_drawn``: every letter is; else what cannot be seen stays.
    """
    matrix = pixel_matrix(page, pixels.shape[1], pixels.shape[0])
    step = math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / MOST_PIXELS))
    light = lightness(pixels[::step, ::step])
    with closing(page.get_textpage()) as text:
        count = text.count_chars()
        if not 0 < count <= MOST_CHARACTERS or _unmapped(text, count) > UNMAPPED * count:
            return None
        if _turned(text, count, matrix) > TURNED * count:
            return None
        pieces = tuple(piece for piece in _pieces(text, count, matrix) if piece.text)
    boxes = {piece: _smaller(piece.box, step) for piece in pieces}
    if is_drawn:
        pieces = tuple(piece for piece in pieces if is_seen(light, boxes[piece]))
    if not pieces or is_torn(pieces):
        return None
    return pieces if unexplained(light, [boxes[piece] for piece in pieces]) <= UNEXPLAINED else None


def lightness(pixels: NDArray[np.uint8]) -> Levels:
    """Between the lightest and the darkest channel: coloured ink is as far from white as from black."""
    return np.asarray((pixels[..., :3].max(axis=2).astype(np.int16) + pixels[..., :3].min(axis=2)) // 2, np.int16)


def _smaller(box: Box, step: int) -> Box:
    x0, y0, x1, y1 = box
    return x0 / step, y0 / step, x1 / step, y1 / step


def is_seen(light: Levels, box: Box) -> bool:
    x0, y0, x1, y1 = (max(0, int(side)) for side in box)
    place = light[y0 : y1 + 1, x0 : x1 + 1]
    return bool(place.size) and int(place.max()) - int(place.min()) > UNSEEN


def is_torn(pieces: Sequence[TextPiece]) -> bool:
    """Whether most words are lone letters; Chinese and Japanese words often are, but not pieces of lines."""
    words = [word for piece in pieces for word in piece.text.split()]
    lone = sum(len(word) == 1 and word.isascii() and word.isalpha() for word in words)
    alone = sum(len(piece.text) == 1 and not piece.text.isascii() for piece in pieces)
    return any(
        count >= FEWEST_TORN and count > TORN * whole for count, whole in ((lone, len(words)), (alone, len(pieces)))
    )


def _turned(text: Any, count: int, matrix: Matrix) -> int:
    """How many letters do not stand upright in the picture."""
    a, b, c, d, _, _ = matrix
    turned, of = 0, raw.FS_MATRIX()
    for index in range(count):
        if raw.FPDFText_IsGenerated(text, index) == 1 or not raw.FPDFText_GetMatrix(text, index, byref(of)):
            continue
        along, down = a * of.a + c * of.b, b * of.a + d * of.b
        turned += along <= 0 or abs(down) > SLANT * along or b * of.c + d * of.d >= 0
    return turned


def _unmapped(text: Any, count: int) -> int:
    return sum(_is_unusable(text, i) for i in range(count))


def _is_unusable(text: Any, index: int) -> bool:
    """A character without a meaning, or of a script from right to left, whose order PDFium does not restore."""
    code = raw.FPDFText_GetUnicode(text, index)
    if code in HYPHENS or code in (0x09, 0x0A, 0x0D):
        return False
    if code in (0, 0xFFFD) or raw.FPDFText_HasUnicodeMapError(text, index) == 1:
        return True
    letter = chr(code)
    return unicodedata.category(letter) in {"Cc", "Co", "Cn"} or unicodedata.bidirectional(letter) in {"R", "AL"}


def _pieces(text: Any, count: int, matrix: Matrix) -> Iterator[TextPiece]:
    line = _Line()
    for index in range(count):
        code = raw.FPDFText_GetUnicode(text, index)
        letter = "-" if code in HYPHENS else chr(code)
        if letter in "\r\n":
            box = None
        elif letter.isspace():
            line.text += " " if line.boxes else ""
            continue
        else:
            box = _box(text, index, matrix)
        if line.boxes and (box is None or _is_apart(line, box)):
            yield line.piece()
            line = _Line()
        if box is not None:
            _add(line, letter, box)
    if line.boxes:
        yield line.piece()


def _add(line: _Line, letter: str, box: Box) -> None:
    if line.boxes and not line.text.endswith(" ") and box[0] - line.boxes[-1][2] > WORD_GAP * line.height:
        line.text += " "
    line.text += letter
    line.boxes.append(box)


def _is_apart(line: _Line, box: Box) -> bool:
    """Whether a letter begins another line, or stands far from the one before it."""
    before = line.boxes[-1]
    shared = min(before[3], box[3]) - max(before[1], box[1])
    lower = shared < 0.3 * min(line.height, box[3] - box[1])
    return lower or not -2 * line.height < box[0] - before[2] < PIECE_GAP * line.height


def _box(text: Any, index: int, matrix: Matrix) -> Box:
    """Of a letter with the height of its line, in pixels."""
    left, right, bottom, top = c_double(), c_double(), c_double(), c_double()
    loose = raw.FS_RECTF()
    raw.FPDFText_GetCharBox(text, index, byref(left), byref(right), byref(bottom), byref(top))
    raw.FPDFText_GetLooseCharBox(text, index, byref(loose))
    a, b, c, d, e, f = matrix
    corners = [(x, y) for x in (left.value, right.value) for y in (loose.bottom, loose.top)]
    across, down = [a * x + c * y + e for x, y in corners], [b * x + d * y + f for x, y in corners]
    return min(across), min(down), max(across), max(down)


def unexplained(light: Levels, boxes: list[Box]) -> float:
    """The share of a picture's ink that lies in none of the boxes, straight rules left out (0 for a blank picture)."""
    ink = inked(light)
    covered = np.zeros_like(ink)
    for left, top, right, bottom in boxes:
        room = 0.25 * (bottom - top)
        rows = slice(max(0, int((top - room) / CELL)), max(0, int((bottom + room) / CELL) + 1))
        covered[rows, max(0, int((left - room) / CELL)) : max(0, int((right + room) / CELL) + 1)] = True
    return float((ink & ~covered).sum() / max(1, ink.sum()))


def inked(light: Levels) -> Mask:
    """Cells with both dark and light in them, but for rules and the edges of what is filled."""
    paper = int(np.median(light[::4, ::4]))
    marked = np.abs(light - paper) > CONTRAST
    grey = np.where(straight(marked) | straight(marked.T).T, np.int16(paper), light)
    height, width = grey.shape[0] // CELL * CELL, grey.shape[1] // CELL * CELL
    cells = grey[:height, :width].reshape(height // CELL, CELL, width // CELL, CELL)
    return np.asarray(cells.max(axis=(1, 3)) - cells.min(axis=(1, 3)) > CONTRAST)


def straight(marked: Mask) -> Mask:
    """Pixels in unbroken lines from left to right that are longer than any stroke of a letter."""
    height, width = marked.shape
    if width < RULE:
        return np.zeros_like(marked)
    counted = np.pad(np.cumsum(marked, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    begins = counted[:, RULE:] - counted[:, :-RULE] == RULE
    within = np.zeros((height, width + 1), np.int16)
    within[:, : width - RULE + 1] += begins
    within[:, RULE:] -= begins
    return np.asarray(np.cumsum(within, axis=1, dtype=np.int32)[:, :width] > 0)
