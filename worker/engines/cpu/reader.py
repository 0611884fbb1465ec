"""A page from picture to ``PageRead``: upright, detected, laid out, recognised, put in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter

import numpy as np
from PIL import Image

from shared.contract.document import PageStatus, Reason, Shortfall, Usage
from worker.engines.base import PageImage, PageRead
from worker.engines.blank import is_blank
from worker.engines.cpu.checkboxes import with_checkboxes
from worker.engines.cpu.completeness import seen, shortfall, unseen_writing
from worker.engines.cpu.detection import Detected, Pixels, moved, resized
from worker.engines.cpu.draft import Draft
from worker.engines.cpu.layout import Hint, LayoutModel
from worker.engines.cpu.orientation import upright
from worker.engines.cpu.places import MIN_SCORE, Places
from worker.engines.cpu.recognition import Text, TextModels, crop, stands_on_end
from worker.engines.cpu.structure import Scene, compose, picture_only
from worker.engines.text_layer import from_text_layer

NOTHING_READ = Shortfall(reason=Reason.UNREADABLE)
"""The picture is not blank, and holds nothing that looks like writing: nobody can say what is missing."""

WORK_PIXELS = 32_000_000
"""Beyond so many a picture is made smaller before anything looks at it."""

Checkpoint = Callable[[], None]
Emit = Callable[[str], None]
"""Takes the Markdown of the page's next block, before the page is done; what is wrong in it is said again later."""

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


def scaled(hint: Hint, scale: float) -> Hint:
    return replace(hint, x0=hint.x0 / scale, y0=hint.y0 / scale, x1=hint.x1 / scale, y1=hint.y1 / scale)


class Reader:
    """The models, and the way a page walks through them. Any number of threads may read pages at once."""

    def __init__(self, text: TextModels, layout: LayoutModel) -> None:
        self._text, self._layout = text, layout

    def read(self, page: PageImage, checkpoint: Checkpoint, each: Each, emit: Emit) -> PageRead:
        """``checkpoint`` is called between the stages and before every line; what it raises goes through.

        ``emit`` gets blocks as their lines are recognised, from any of the threads of ``each``, one at a time.
        """
        started = time.monotonic()
        if given := from_text_layer(page):
            return given
        if is_blank(page.image):
            return skipped("blank")
        read = self._read_picture(page, checkpoint, each, emit)
        seconds = time.monotonic() - started
        return replace(read, usage=Usage(completion_tokens=len(read.markdown.split()), engine_seconds=seconds))

    def _read_picture(self, page: PageImage, checkpoint: Checkpoint, each: Each, emit: Emit) -> PageRead:
        pixels = np.ascontiguousarray(np.asarray(page.image.convert("RGB"))[:, :, ::-1])
        work, scale = resized(pixels, (WORK_PIXELS / (page.image.width * page.image.height)) ** 0.5)
        del pixels
        work, quarters, found = upright(work, self._text, checkpoint)
        image = upright_image(page.image, quarters)
        checkpoint()
        hints = self._layout.find(work)
        found, given = with_checkboxes(work, found)

        scene = Scene(page.number, image or page.image, [], [scaled(hint, scale) for hint in hints])
        places = Places(moved(found, 1 / scale, 0, 0), scene.image.size)
        draft = Draft(scene, places, len(found), emit)

        def recognised(turn: int) -> Text:
            checkpoint()
            i = draft.order[turn]
            text = Text(given[i], 1.0) if i in given else self._recognise(work, found, i)
            draft.recognised(i, text)
            return text

        in_turn = each(recognised, len(found))
        texts = [text for _, text in sorted(zip(draft.order, in_turn, strict=True), key=itemgetter(0))]
        lost = shortfall(seen(found, texts, MIN_SCORE), found.dropped, unseen_writing(work, found, hints))
        scene = replace(scene, lines=list(places.lines(texts).values()))
        read = compose(scene) if scene.lines else picture_only(scene)
        return replace(
            read.admitting(lost or (None if scene.lines else NOTHING_READ)), upright=image, quarters=quarters
        )

    def _recognise(self, work: Pixels, found: Detected, i: int) -> Text:
        bend = found.bends.get(i)
        line = crop(work, found.quads[i], bend)
        return self._text.recognise(line, turned=bend is None and stands_on_end(found.quads[i]))
