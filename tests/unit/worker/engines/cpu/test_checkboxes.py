"""Boxes to tick, drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from worker.engines.cpu.checkboxes import checkboxes, with_checkboxes
from worker.engines.cpu.detection import Detected

LINES = [True, False, True]


def form() -> Image.Image:
    image = Image.new("RGB", (600, 400), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(26)
    for i, ticked in enumerate(LINES):
        y = 60 + 80 * i
        pen.rectangle((60, y, 84, y + 24), outline="black", width=2)
        if ticked:
            pen.line((62, y + 2, 82, y + 22), fill="black", width=3)
            pen.line((82, y + 2, 62, y + 22), fill="black", width=3)
        pen.text((110, y - 4), "BOOKED", fill="black", font=font)
    return image


def lines(x0: float, x1: float) -> Detected:
    quads = [[[x0, y], [x1, y], [x1, y + 36], [x0, y + 36]] for y in (54 + 80 * i for i in range(3))]
    return Detected(np.asarray(quads, np.float32))


def test_boxes_are_found_and_letters_are_not() -> None:
    assert [box.ticked for box in checkboxes(np.asarray(form()), lines(50, 250))] == LINES


def test_a_box_beside_its_words_becomes_a_piece_of_its_own() -> None:
    found, texts = with_checkboxes(np.asarray(form()), lines(100, 250))
    assert list(texts.values()) == ["[x]", "[ ]", "[x]"]
    assert len(found) == 6


def test_a_box_inside_a_piece_is_cut_out_of_it() -> None:
    found, texts = with_checkboxes(np.asarray(form()), lines(50, 250))
    assert len(texts) == 3
    words = [quad for i, quad in enumerate(found.quads) if i not in texts and quad[:, 0].max() > 200]
    assert all(quad[:, 0].min() > 84 for quad in words)


def test_a_row_of_boxes_for_letters_is_left_alone() -> None:
    image = Image.new("RGB", (600, 200), "white")
    pen = ImageDraw.Draw(image)
    for i in range(8):
        pen.rectangle((60 + 34 * i, 60, 84 + 34 * i, 84), outline="black", width=2)
    assert checkboxes(np.asarray(image), lines(50, 250)) == []


def marked(kind: str) -> Image.Image:
    """Boxes of other forms, the first and the last of them ticked."""
    image = Image.new("RGB", (600, 400), "white")
    pen = ImageDraw.Draw(image)
    for i, ticked in enumerate(LINES):
        y = 60 + 80 * i
        outline = pen.ellipse if "round" in kind else pen.rectangle
        outline((60, y, 88, y + 28), outline="black", width=2)
        if ticked and kind == "filled":
            pen.rectangle((66, y + 6, 82, y + 22), fill="black")
        if ticked and kind == "round":
            pen.ellipse((67, y + 7, 81, y + 21), fill="black")
    return image


@pytest.mark.parametrize("kind", ["filled", "round"])
def test_other_boxes_and_ticks_are_found(kind: str) -> None:
    found = checkboxes(np.asarray(marked(kind)), lines(110, 250))
    assert [box.ticked for box in sorted(found, key=lambda box: box.y0)] == LINES


def test_rings_without_a_dot_are_bullets() -> None:
    assert checkboxes(np.asarray(marked("round, empty")), lines(110, 250)) == []


MARKS = {
    "none": [],
    "tick": [(-4, 8), (9, 27), (46, -18)],
    "cross": [(-7, -6), (31, 30), (12, 12), (31, -7), (-6, 31)],
    "slash": [(-8, 33), (33, -7)],
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("width", [2, 5])
def test_a_mark_by_hand_may_go_beyond_the_rim(mark: str, width: int) -> None:
    image = Image.new("RGB", (600, 400), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(26)
    for i, own in enumerate([mark, "none", mark]):
        y = 60 + 80 * i
        pen.rectangle((60, y, 84, y + 24), outline="black", width=2)
        pen.line([(60 + x, y + down) for x, down in MARKS[own]], fill="black", width=width)
        pen.text((120, y - 4), "BOOKED", fill="black", font=font)
    is_ticked = mark != "none"
    found = sorted(checkboxes(np.asarray(image), lines(110, 250)), key=lambda box: box.y0)
    assert [box.ticked for box in found] == [is_ticked, False, is_ticked]


def test_letters_that_touch_are_no_box_with_a_mark() -> None:
    """Stems and feet of letters with serifs, as in a heading."""
    image = Image.new("RGB", (600, 400), "white")
    pen = ImageDraw.Draw(image)
    for x in (60, 90, 120):
        pen.line((x, 60, x, 84), fill="black", width=5)
        pen.line((x + 20, 60, x + 20, 84), fill="black", width=5)
        pen.arc((x, 58, x + 21, 74), 180, 0, fill="black", width=4)
        pen.line((x - 6, 84, x + 8, 84), fill="black", width=3)
        pen.line((x + 12, 84, x + 26, 84), fill="black", width=3)
    assert checkboxes(np.asarray(image), lines(50, 250)) == []
