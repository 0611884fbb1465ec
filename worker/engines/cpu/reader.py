"""A page from picture to ``PageRead``: upright, detected, laid out, recognised, put in order; one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from shared.contract.document import PageStatus, Usage
from worker.engines.base import PageImage, PageRead
from worker.engines.blank import is_blank
from worker.engines.cpu.joining import mended
from worker.engines.cpu.layout import Hint, LayoutModel
from worker.engines.cpu.lines import Line
from worker.engines.cpu.orientation import levelled, tilt, upright
from worker.engines.cpu.recognition import Quads, TextModels, crop, shrink
from worker.engines.cpu.structure import Scene, compose
from worker.engines.text_layer import from_text_layer

WORK_SIDE = 4000
MIN_SCORE = 0.4
Checkpoint = Callable[[], None]


class Stopped(Exception):
    """The page was given up on."""


def skipped(reason: str) -> PageRead:
    return PageRead("", status=PageStatus.SKIPPED, reason=reason)


def upright_image(image: Image.Image, quarters: int) -> Image.Image | None:
    """The picture turned clockwise; None if it is upright already."""
    turns = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
    return image.transpose(turns[quarters]) if quarters else None


def text_lines(quads: Quads, texts: list[tuple[str, float]], scale: float, size: tuple[int, int]) -> list[Line]:
    """The lines that were read with some confidence; corners come in working pixels and leave in page pixels."""
    corners = quads / scale
    level = levelled(corners, tilt(corners), *size)
    kept = [i for i, (text, score) in enumerate(texts) if text.strip() and score >= MIN_SCORE]
    return [line_of(level[i], corners[i], texts[i][0]) for i in kept]


def line_of(level: Quads, corners: Quads, text: str) -> Line:
    x0, y0, x1, y1 = extent(level)
    return Line(x0, y0, x1, y1, mended(text), extent(corners))


def extent(corners: Quads) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def scaled(hint: Hint, scale: float) -> Hint:
    return replace(hint, x0=hint.x0 / scale, y0=hint.y0 / scale, x1=hint.x1 / scale, y1=hint.y1 / scale)


class Reader:
    """The models, and the way a page walks through them."""

    def __init__(self, text: TextModels, layout: LayoutModel) -> None:
        self._text, self._layout = text, layout

    def read(self, page: PageImage, checkpoint: Checkpoint) -> PageRead:
        """``checkpoint`` is called between the stages and before every line; what it raises goes through."""
        started = time.monotonic()
        if given := from_text_layer(page):
            return given
        if is_blank(page.image):
            return skipped("blank")
        read = self._read_picture(page, checkpoint)
        seconds = time.monotonic() - started
        return replace(read, usage=Usage(completion_tokens=len(read.markdown.split()), engine_seconds=seconds))

    def _read_picture(self, page: PageImage, checkpoint: Checkpoint) -> PageRead:
        pixels = np.ascontiguousarray(np.asarray(page.image.convert("RGB"))[:, :, ::-1])
        work, scale = shrink(pixels, WORK_SIDE)
        del pixels
        work, quarters, quads = upright(work, self._text, checkpoint)
        image = upright_image(page.image, quarters)
        checkpoint()
        hints = [scaled(hint, scale) for hint in self._layout.find(work)]
        texts = self._text.recognise([crop(work, quad) for quad in quads], checkpoint)
        size = (image or page.image).size
        read = compose(Scene(page.number, image or page.image, text_lines(quads, texts, scale, size), hints))
        if not read.blocks:
            return skipped("blank")
        return replace(read, upright=image, quarters=quarters)
