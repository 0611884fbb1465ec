"""Whether a page's own text is what its picture shows: no writing beside it, and no other words in its place.

Text layers made by an old OCR, text under a picture or on a layer that is switched off, fonts whose table of characters
is wrong: all of them account for the ink, and say something else. A few lines are read to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import SequenceMatcher

import numpy as np

from worker.engines.base import TextPiece
from worker.engines.cpu.completeness import unseen_writing
from worker.engines.cpu.detection import Detected, Pixels, Quads
from worker.engines.cpu.recognition import TextModels, crop

SAMPLES = 4
LEAST = 8
"""Letters and digits of a piece from which on it is worth reading."""

ROOM = 0.1
"""Paper around a piece, in its heights, that the recogniser sees."""

SURE, ALIKE = 0.9, 0.85
"""Confidence from which on the recogniser's reading counts, and how alike the two must then be (1: equal)."""

MOST_UNLIKE = 0.3
"""Share of the samples that may differ: a formula, a line with a hidden word."""


def shows(image: Pixels, pieces: Sequence[TextPiece], models: TextModels, checkpoint: Callable[[], None]) -> bool:
    """Whether a BGR picture shows these words, and no writing besides."""
    quads = np.asarray([quad_of(piece) for piece in pieces], np.float32)
    if unseen_writing(image, Detected(quads), ()) > 0:
        return False
    checkpoint()
    alike = [*likeness(image, pieces, models, checkpoint)]
    return sum(one < ALIKE for one in alike) <= MOST_UNLIKE * len(alike)


def quad_of(piece: TextPiece, room: float = 0.0) -> Quads:
    x0, y0, x1, y1 = piece.box
    around = room * (y1 - y0)
    x0, y0, x1, y1 = x0 - around, y0 - around, x1 + around, y1 + around
    return np.asarray([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def likeness(
    image: Pixels, pieces: Sequence[TextPiece], models: TextModels, checkpoint: Callable[[], None]
) -> Iterator[float]:
    """How alike what a piece says and what is read in its place are, of some pieces all over the page."""
    for piece in samples(pieces, models.letters):
        checkpoint()
        read = models.recognise(crop(image, quad_of(piece, ROOM)))
        if read.score >= SURE:
            yield SequenceMatcher(None, plain(piece.text), plain(read.text), autojunk=False).ratio()


def samples(pieces: Sequence[TextPiece], known: Collection[str]) -> list[TextPiece]:
    """Pieces that the recogniser has all letters for."""
    fit = [p for p in pieces if len(plain(p.text)) >= LEAST and all(sign in known for sign in p.text if sign.isalnum())]
    step = max(1, len(fit) // SAMPLES)
    return fit[::step][:SAMPLES]


def plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())
