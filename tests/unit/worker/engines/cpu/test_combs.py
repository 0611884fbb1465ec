"""Rows of cells for one letter each, drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from worker.engines.cpu.combs import closed_up, with_combs
from worker.engines.cpu.detection import Detected, Pixels

CELL, TALL = 40, 48
FONT = ImageFont.load_default(28)


def cells(kind: str, words: list[str], *, rows: int = 1) -> Pixels:
    """A row of cells at (60, 60), with these words in them; more rows stand on each other."""
    image = Image.new("RGB", (700, 300), "white")
    pen = ImageDraw.Draw(image)
    for row in range(rows):
        for i, word in enumerate(words):
            x, y = 60 + i * (CELL + (12 if kind == "apart" else 0)), 60 + row * TALL
            if kind in {"boxes", "apart"}:
                pen.rectangle((x, y, x + CELL, y + TALL), outline="black", width=2)
            elif kind == "comb":
                pen.line((x, y + 30, x, y + TALL, x + CELL, y + TALL, x + CELL, y + 30), fill="black", width=2)
            else:
                pen.line((x + 4, y + TALL, x + CELL - 4, y + TALL), fill="black", width=2)
            pen.text((x + CELL / 2, y + 8), word, fill="black", font=FONT, anchor="ma")
    return np.asarray(image)


def pieces(*sides: tuple[float, float]) -> Detected:
    quads = [[[x0, 64], [x1, 64], [x1, 100], [x0, 100]] for x0, x1 in sides]
    return Detected(np.asarray(quads, np.float32))


@pytest.mark.parametrize("kind", ["boxes", "apart", "comb", "feet"])
def test_what_is_in_a_comb_is_one_line_without_rims(kind: str) -> None:
    torn = pieces((10, 50), (60, 230), (232, 300), (310, 500))
    found, given, lines = with_combs(cells(kind, ["4", "8", "", "2", "1", "0"]), torn, {})
    assert (len(found), given, list(lines)) == (3, {}, [2])
    (line,) = lines.values()
    ink = (line.max(axis=2) < 128).any(axis=0)
    assert np.count_nonzero(np.diff(ink.astype(int)) == 1) == 5
    assert line.shape[1] < 5 * CELL


def test_what_is_known_of_other_pieces_stays_with_them() -> None:
    found, given, lines = with_combs(cells("boxes", [*"48210"]), pieces((60, 100), (560, 590), (102, 260)), {1: "[x]"})
    assert {i: float(found.quads[i][0][0]) for i in given} == {0: 560.0}
    assert list(lines) == [1]


@pytest.mark.parametrize(
    ("words", "rows"), [([*"48210"], 2), (["12", "15", "30", "41"], 1), ([""] * 6, 1), ([*"48"], 1)],
    ids=["table", "numbers", "empty", "two boxes"],
)  # fmt: skip
def test_tables_and_boxes_are_no_combs(words: list[str], rows: int) -> None:
    found, _, lines = with_combs(cells("boxes", words, rows=rows), pieces((60, 260)), {})
    assert (len(found), lines) == (1, {})


def test_writing_over_a_row_of_dashes_is_no_comb() -> None:
    image = Image.fromarray(cells("feet", [""] * 8))
    ImageDraw.Draw(image).text((60, 70), "Members are asked to", fill="black", font=FONT)
    assert with_combs(np.asarray(image), pieces((60, 360)), {})[2] == {}


@pytest.mark.parametrize(
    ("steps", "text", "closed"),
    [
        ([30, 30, 30, 30], "4 8 2 1 0", "48210"),
        ([30, 30, 60, 30], "4 8 2 1 0", "4 8 2 1 0"),
        ([30, 30, 30, 30], "4 8 21 0", "4 8 21 0"),
        ([30, 30], "4 8 2", "4 8 2"),
    ],
    ids=["even", "uneven", "not single", "few"],
)
def test_single_letters_equally_far_apart_are_one_word(steps: list[int], text: str, closed: str) -> None:
    image = Image.new("RGB", (300, 48), "white")
    x = 20
    for step, letter in zip([0, *steps], "48210", strict=False):
        x += step
        ImageDraw.Draw(image).text((x, 8), letter, fill="black", font=FONT, anchor="ma")
    assert closed_up(text, np.asarray(image)) == closed
