"""A page's blocks while its lines come in, with real layout and no recogniser."""

from __future__ import annotations

import numpy as np
from PIL import Image

from worker.engines.cpu.detection import Detected
from worker.engines.cpu.draft import Draft
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.places import Places
from worker.engines.cpu.recognition import Text
from worker.engines.cpu.structure import Scene, compose

SIZE = (1200, 1600)
LETTER, HEIGHT = 10, 20
PARAGRAPH = ("It was a bright cold day in April, and the clocks were", "striking thirteen as they do.")
Placed = tuple[str, int, int]


class DraftedPage:
    """Lines of text at places, detected in that order, and the draft that is made of them."""

    def __init__(self, lines: list[Placed], hints: list[Hint] | None = None) -> None:
        corners = [(x, y, x + LETTER * len(text), y + HEIGHT) for text, x, y in lines]
        self.texts = [Text(text, 1.0) for text, _, _ in lines]
        quads = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]] for x0, y0, x1, y1 in corners], np.float32)
        self._places = Places(found := Detected(quads), SIZE)
        self._scene = Scene(1, Image.new("RGB", SIZE, "white"), [], hints or [])
        self.emitted: list[str] = []
        self.draft = Draft(self._scene, self._places, len(found), self.emitted.append)

    def recognise(self, count: int) -> None:
        """The first ``count`` lines in the draft's order."""
        for index in self.draft.order[:count]:
            self.draft.recognised(index, self.texts[index])

    def final(self) -> list[str]:
        lines = list(self._places.lines(self.texts).values())
        read = compose(Scene(1, self._scene.image, lines, self._scene.hints))
        return [block.text for block in read.blocks]


def paragraphs(count: int, x: int = 100, top: int = 100) -> list[Placed]:
    lines: list[Placed] = []
    for i in range(count):
        lines += [(f"{text} {i}", x, top + 100 * i + 26 * j) for j, text in enumerate(PARAGRAPH)]
    return lines


def test_blocks_come_out_before_the_page_is_done_and_are_those_of_the_page() -> None:
    page = DraftedPage(paragraphs(6))
    page.recognise(8)
    assert page.emitted == page.final()[:3]
    page.recognise(12)
    assert page.emitted == page.final()[: len(page.emitted)]
    assert len(page.emitted) >= 4


def test_a_block_waits_for_its_last_line_and_for_the_next_ones_first() -> None:
    long = [(f"{PARAGRAPH[0]} {i}", 100, 100 + 26 * i) for i in range(5)]
    page = DraftedPage([*long, *paragraphs(2, top=300)])
    page.recognise(4)
    assert page.emitted == []
    page.recognise(8)
    assert page.emitted == page.final()[:2]


def test_columns_are_recognised_in_reading_order() -> None:
    left, right = paragraphs(6), paragraphs(6, x=750)
    # as a detector finds them: from top to bottom, both columns at once
    lines = sorted([*left, *right], key=lambda line: line[2])
    page = DraftedPage(lines)
    assert [lines[index][0:2] for index in page.draft.order] == [line[0:2] for line in [*left, *right]]
    page.recognise(len(left))
    assert page.emitted == page.final()[: len(page.emitted)] != []


def test_a_figure_has_its_number_before_the_page_is_done() -> None:
    figures = [Hint("figure", 0.9, 100, top, 700, top + 200) for top in (200, 600)]
    lines = [*paragraphs(1), *paragraphs(1, top=450), *paragraphs(3, top=850)]
    page = DraftedPage(lines, figures)
    page.recognise(len(lines))
    assert "![](images/1_0.jpg)" in page.emitted
    assert "![](images/1_1.jpg)" in page.emitted
    assert page.emitted == page.final()[: len(page.emitted)]


def test_nothing_more_comes_out_once_an_emitted_block_has_changed() -> None:
    lines = [*paragraphs(1)]
    lines[0] = ("It was a bright cold day in April, and the cars of trans-", 100, 100)
    lines[1] = ("port and more.", 100, 126)
    lines += [*paragraphs(3, top=300), ("trans and port", 100, 700), *paragraphs(1, top=800)]
    page = DraftedPage(lines)
    page.recognise(len(lines))
    assert "transport" in page.emitted[0]
    assert "trans-port" in page.final()[0]  # the page writes both halves as words of their own
    assert len(page.emitted) < len(page.final()) - 2
