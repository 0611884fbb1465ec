"""A page from picture to ``PageRead``: upright, detected, laid out, recognised, put in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter

import numpy as np
from PIL import Image

from shared.contract.document import PageStatus, Reason, Shortfall, Usage
from worker.engines.base import PageImage, PageRead
from worker.engines.blank import is_blank, is_blank_to_the_eye
from worker.engines.cpu.checkboxes import with_checkboxes
from worker.engines.cpu.combs import closed_up, with_combs
from worker.engines.cpu.completeness import doubt, is_tiny, overlooked, seen, shortfall, unseen_writing
from worker.engines.cpu.detection import Detected, Pixels, moved, resized
from worker.engines.cpu.draft import Draft
from worker.engines.cpu.layer_check import shows
from worker.engines.cpu.layout import Hint, LayoutModel
from worker.engines.cpu.orientation import upright
from worker.engines.cpu.places import MIN_SCORE, Places
from worker.engines.cpu.recognition import Text, TextModels, crop, stands_on_end
from worker.engines.cpu.second_look import faint_pieces, look_again, with_contrast
from worker.engines.cpu.second_recogniser import SecondRecogniser, surer
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


def _nothing(_: str) -> None:
    """Takes the place of ``Emit`` where nothing is to be streamed."""


class Stopped(Exception):
    """The page was given up on."""


def skipped(reason: str) -> PageRead:
    return PageRead("", status=PageStatus.SKIPPED, reason=reason)


def upright_image(image: Image.Image, quarters: int) -> Image.Image | None:
    """The picture turned clockwise; None if it is upright already."""
    turns = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
    return image.transpose(turns[quarters]) if quarters else None


def pixels_of(image: Image.Image) -> Pixels:
    """The picture as the models take it: BGR."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def scaled(hint: Hint, scale: float) -> Hint:
    return replace(hint, x0=hint.x0 / scale, y0=hint.y0 / scale, x1=hint.x1 / scale, y1=hint.y1 / scale)


@dataclass(frozen=True, slots=True)
class Models:
    """What every page is read by."""

    text: TextModels
    layout: LayoutModel


class Reader:
    """The models, and the way a page walks through them. Any number of threads may read pages at once.

    ``alone``: the models for a page while no other is read; without them it has those that all pages have.
    """

    def __init__(self, models: Models, second: SecondRecogniser | None = None, *, alone: Models | None = None) -> None:
        self._models, self._second, self._alone = models, second, alone or models

    @property
    def more_languages(self) -> tuple[str, ...]:
        """Those that are read where a page's options name them."""
        return self._second.languages if self._second else ()

    def read(
        self, page: PageImage, languages: Sequence[str], checkpoint: Checkpoint, each: Each, emit: Emit, *, alone: bool
    ) -> PageRead:
        """``checkpoint`` is called between the stages and before every line; what it raises goes through.

        ``emit`` gets blocks as their lines are recognised, from any of the threads of ``each``, one at a time.
        ``alone``: no other page is being read.
        """
        started, models = time.monotonic(), self._alone if alone else self._models
        shown = page.text_layer and shows(pixels_of(page.image), page.text_layer, models.text, checkpoint)
        if shown and (given := from_text_layer(page)):
            return given
        if is_blank(page.image):
            return skipped("blank")
        second = self._second.asked_for(languages) if self._second else None
        # What the second recogniser corrects was never right to be streamed.
        read = self._read_picture(page, models, second, checkpoint, each, _nothing if second else emit)
        seconds = time.monotonic() - started
        return replace(read, usage=Usage(completion_tokens=len(read.markdown.split()), engine_seconds=seconds))

    def _read_picture(
        self,
        page: PageImage,
        models: Models,
        second: SecondRecogniser | None,
        checkpoint: Checkpoint,
        each: Each,
        emit: Emit,
    ) -> PageRead:
        pixels = pixels_of(page.image)
        work, scale = resized(pixels, (WORK_PIXELS / (page.image.width * page.image.height)) ** 0.5)
        del pixels
        work, quarters, found = upright(with_contrast(work), models.text, second, checkpoint)
        image = upright_image(page.image, quarters)
        checkpoint()
        hints = models.layout.find(work)
        rows = [*overlooked(work, found, hints), *faint_pieces(work, found)]
        if rows:
            checkpoint()
            work, found = look_again(work, found, rows, partial(models.text.detect, checkpoint=checkpoint))
        found, given = with_checkboxes(work, found)
        found, given, combs = with_combs(work, found, given)

        scene = Scene(page.number, image or page.image, [], [scaled(hint, scale) for hint in hints])
        places = Places(moved(found, 1 / scale, 0, 0), scene.image.size)
        draft = Draft(scene, places, len(found), emit)

        def recognised(turn: int) -> Text:
            checkpoint()
            i = draft.order[turn]
            text = Text(given[i], 1.0) if i in given else recognise(models.text, work, found, i, combs.get(i))
            draft.recognised(i, text)
            return text

        in_turn = each(recognised, len(found))
        texts = [text for _, text in sorted(zip(draft.order, in_turn, strict=True), key=itemgetter(0))]
        if second:
            texts = self._read_again(work, found, texts, second, checkpoint)
        unseen = unseen_writing(work, found, hints) if rows else 0.0
        lost = shortfall(seen(found, texts, MIN_SCORE), found.dropped, unseen)
        scene = replace(scene, lines=list(places.lines(texts).values()))
        if not scene.lines and not rows and is_blank_to_the_eye(page.image):
            return skipped("blank")
        read = compose(scene) if scene.lines else picture_only(scene)
        return replace(
            read.admitting(lost or (None if scene.lines else NOTHING_READ)), upright=image, quarters=quarters
        )

    def _read_again(
        self, work: Pixels, found: Detected, texts: list[Text], second: SecondRecogniser, checkpoint: Checkpoint
    ) -> list[Text]:
        """The lines as the second recogniser reads them, where that is surer. Lines on end stay."""
        level = [i for i in range(len(found)) if i in found.bends or not stands_on_end(found.quads[i])]
        lines = [crop(work, found.quads[i], found.bends.get(i)) for i in level]
        better, lost = list(texts), seen(found, texts, MIN_SCORE)
        for i, text in zip(level, second.read(lines, checkpoint), strict=True):
            better[i] = surer(texts[i], lost[i].loss, text, second.languages)
        return better


def recognise(models: TextModels, work: Pixels, found: Detected, i: int, comb: Pixels | None) -> Text:
    """What detected line ``i`` says. ``comb``: its letters side by side, where each stands in a box of its own."""
    bend = found.bends.get(i)
    line = crop(work, found.quads[i], bend) if comb is None else comb
    turned = comb is None and bend is None and stands_on_end(found.quads[i])
    text = models.recognise(line, turned=turned)
    joined = closed_up(text.text, line)
    if comb is not None or joined != text.text:  # letters so far apart say nothing by their density
        text = replace(text, text=joined, loss=doubt(text.score))
    return replace(text, is_tiny=True) if is_tiny(line) else text
