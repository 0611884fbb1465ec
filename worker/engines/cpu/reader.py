"""A page from picture to ``PageRead``: upright, detected, laid out, recognised, put in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from shared.contract.document import PageStatus, Reason, Shortfall, Usage
from worker.engines.base import PageImage, PageRead
from worker.engines.blank import is_blank
from worker.engines.cpu.checkboxes import with_checkboxes
from worker.engines.cpu.completeness import seen, shortfall, unseen_writing
from worker.engines.cpu.detection import Detected, Floats, Quads, moved, resized
from worker.engines.cpu.joining import mended
from worker.engines.cpu.layout import Hint, LayoutModel
from worker.engines.cpu.lines import Line
from worker.engines.cpu.orientation import levelled, tilt, upright
from worker.engines.cpu.recognition import Text, TextModels, crop, stands_on_end
from worker.engines.cpu.structure import Scene, compose, picture_only
from worker.engines.text_layer import from_text_layer

NOTHING_READ = Shortfall(reason=Reason.UNREADABLE)
"""The picture is not blank, and holds nothing that looks like writing: nobody can say what is missing."""

WORK_PIXELS = 32_000_000
"""Beyond so many a picture is made smaller before anything looks at it."""

MIN_SCORE = 0.4
Checkpoint = Callable[[], None]
Each = Callable[[Callable[[int], Text], int], list[Text]]
"""Calls a function with 0, 1, ... and gives all results: in one thread, or in several."""


class Stopped(Exception):
    """The page was given up on."""


def skipped(reason: str) -> PageRead:
    return PageRead("", status=PageStatus.SKIPPED, reason=reason)


def upright_image(image: Image.Image, quarters: int) -> Image.Image | None:
    """The picture turned clockwise; None if it is upright already."""
    turns = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
    return image.transpose(turns[quarters]) if quarters else None


def text_lines(found: Detected, texts: list[Text], size: tuple[int, int]) -> list[Line]:
    """The lines that were read with some confidence; ``found`` in pixels of the page."""
    level = unbent(found, levelled(found.quads, tilt(found.quads), *size))
    kept = [i for i, text in enumerate(texts) if text.text.strip() and text.score >= MIN_SCORE]
    return [line_of(level[i], found.quads[i], texts[i]) for i in kept]


def line_of(level: Quads, corners: Quads, text: Text) -> Line:
    x0, y0, x1, y1 = extent(level)
    return Line(x0, y0, x1, y1, mended(text.text), extent(corners), None, text.score, text.turned)


def unbent(found: Detected, level: Quads) -> Quads:
    """The corners as they would lie if bent lines were straight; their common bend is the page's."""
    if not found.bends:
        return level
    bends = list(found.bends.values())
    widths = np.array([bend.x1 - bend.x0 for bend in bends])
    a, b = (middle_of(np.array([getattr(bend, name) for bend in bends]), widths) for name in "ab")
    flat = level.copy()
    for i, bend in found.bends.items():
        x = (bend.x0 + bend.x1) / 2
        y, half = bend.middle(x) - (a * x + b) * x, bend.height / 2
        flat[i] = [[bend.x0, y - half], [bend.x1, y - half], [bend.x1, y + half], [bend.x0, y + half]]
    for i in set(range(len(flat))) - set(found.bends):
        x = float(found.quads[i][:, 0].mean())
        flat[i, :, 1] -= (a * x + b) * x
    return flat


def middle_of(values: Floats, weights: Floats) -> float:
    """The weighted median."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def extent(corners: Quads) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def scaled(hint: Hint, scale: float) -> Hint:
    return replace(hint, x0=hint.x0 / scale, y0=hint.y0 / scale, x1=hint.x1 / scale, y1=hint.y1 / scale)


class Reader:
    """The models, and the way a page walks through them. Any number of threads may read pages at once."""

    def __init__(self, text: TextModels, layout: LayoutModel) -> None:
        self._text, self._layout = text, layout

    def read(self, page: PageImage, checkpoint: Checkpoint, each: Each) -> PageRead:
        """``checkpoint`` is called between the stages and before every line; what it raises goes through."""
        started = time.monotonic()
        if given := from_text_layer(page):
            return given
        if is_blank(page.image):
            return skipped("blank")
        read = self._read_picture(page, checkpoint, each)
        seconds = time.monotonic() - started
        return replace(read, usage=Usage(completion_tokens=len(read.markdown.split()), engine_seconds=seconds))

    def _read_picture(self, page: PageImage, checkpoint: Checkpoint, each: Each) -> PageRead:
        pixels = np.ascontiguousarray(np.asarray(page.image.convert("RGB"))[:, :, ::-1])
        work, scale = resized(pixels, (WORK_PIXELS / (page.image.width * page.image.height)) ** 0.5)
        del pixels
        work, quarters, found = upright(work, self._text, checkpoint)
        image = upright_image(page.image, quarters)
        checkpoint()
        hints = self._layout.find(work)
        found, given = with_checkboxes(work, found)

        def recognised(i: int) -> Text:
            checkpoint()
            if i in given:
                return Text(given[i], 1.0)
            bend = found.bends.get(i)
            line = crop(work, found.quads[i], bend)
            return self._text.recognise(line, turned=bend is None and stands_on_end(found.quads[i]))

        texts = each(recognised, len(found))
        lost = shortfall(seen(found, texts, MIN_SCORE), found.dropped, unseen_writing(work, found, hints))
        size = (image or page.image).size
        lines = text_lines(moved(found, 1 / scale, 0, 0), texts, size)
        scene = Scene(page.number, image or page.image, lines, [scaled(hint, scale) for hint in hints])
        read = compose(scene) if lines else picture_only(scene)
        return replace(read.admitting(lost or (None if lines else NOTHING_READ)), upright=image, quarters=quarters)
