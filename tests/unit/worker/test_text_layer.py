"""A page's own text: taken where it is all that is drawn, else the picture is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from typing import cast

import numpy as np
import pytest
from PIL import Image

from shared.sniff import PDF
from tests.conftest import make_settings
from tests.hostile.make import pdf, pdf_of
from worker.engines.base import PageImage, TextPiece
from worker.engines.text_layer import from_text_layer
from worker.render import Renderer
from worker.text_layer import straight, unexplained


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(make_settings("redis://unused", render_processes=1))
    yield renderer
    await renderer.close()


async def page_of(renderer: Renderer, content: str) -> PageImage:
    with closing(await renderer.open(pdf([content], fonts=True), PDF)) as upload:
        return await renderer.page(upload, 1, text_layer=True)


def lines(*texts: str, at: tuple[int, int] = (72, 700), size: int = 12) -> str:
    shown = " ".join(f"({text}) Tj 0 -{size + 4} Td" for text in texts)
    return f"BT /F {size} Tf {at[0]} {at[1]} Td {shown} ET"


PROSE = ["The keeper trimmed the lamp and noted that the wind", "came from the north, as it had done for eleven days."]
SCAN = " ".join(f"{x} {y} 6 9 re f" for x in range(80, 520, 9) for y in range(80, 640, 20))
"""Marks all over the page that are no text."""


async def test_text_that_is_all_there_is_is_taken_with_its_places(renderer: Renderer) -> None:
    page = await page_of(renderer, lines(*PROSE))
    assert page.text_layer is not None
    assert [piece.text for piece in page.text_layer] == PROSE
    for piece in page.text_layer:
        inside = page.image.crop(tuple(round(side) for side in piece.box)).convert("L")  # type: ignore[arg-type]
        darkest, _ = cast("tuple[int, int]", inside.getextrema())
        assert darkest < 80


@pytest.mark.parametrize("crumb", ["BATES 000117", "Page 3 of 12 - received by fax"])
async def test_a_crumb_of_text_on_a_scan_does_not_stand_for_the_page(renderer: Renderer, crumb: str) -> None:
    assert (await page_of(renderer, lines(crumb, at=(72, 40)) + " " + SCAN)).text_layer is None


async def test_a_frame_and_rules_do_not_make_text_doubtful(renderer: Renderer) -> None:
    frame = "50 50 500 700 re S 72 690 m 540 690 l S 72 670 m 540 670 l S 300 60 m 300 740 l S"
    assert (await page_of(renderer, lines(*PROSE * 6) + " " + frame)).text_layer is not None


async def test_text_that_maps_to_no_characters_is_not_taken(renderer: Renderer) -> None:
    encoding = "/Encoding << /Type /Encoding /Differences [65 /g1 /g2 /g3 /g4] >>"
    font = f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica {encoding} >>"
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
    )
    content = lines("ABCD ABCD ABCD")
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>", page]
    objects += [f"<< /Length {len(content)} >>\nstream\n{content}\nendstream", font]
    with closing(await renderer.open(pdf_of(objects), PDF)) as upload:
        assert (await renderer.page(upload, 1, text_layer=True)).text_layer is None


async def test_words_far_apart_in_a_row_are_pieces_of_their_own(renderer: Renderer) -> None:
    content = "BT /F 12 Tf 72 700 Td (Rope) Tj 60 0 Td (3) Tj 12 0 Td (coils) Tj 200 0 Td (9.95) Tj ET"
    page = await page_of(renderer, content)
    assert [piece.text for piece in page.text_layer or ()] == ["Rope", "3 coils", "9.95"]


async def test_without_the_wish_there_is_no_layer(renderer: Renderer) -> None:
    with closing(await renderer.open(pdf([lines(*PROSE)], fonts=True), PDF)) as upload:
        assert (await renderer.page(upload, 1)).text_layer is None


def test_ink_is_counted_where_no_text_is() -> None:
    pixels = np.full((400, 400), 255, np.int16)
    pixels[40:60, 40:360:2] = 0
    assert unexplained(pixels, [(40, 36, 360, 64)]) == 0
    assert unexplained(pixels, []) == 1
    pixels[240:260, 40:360:2] = 0
    assert 0.4 < unexplained(pixels, [(40, 36, 360, 64)]) < 0.6


def test_rules_and_fillings_are_no_writing() -> None:
    marked = np.zeros((90, 400), bool)
    marked[20:22, 30:300] = True  # a rule
    marked[50:70, 30:100] = True  # as wide as a large letter
    found = straight(marked)
    assert found[20:22, 30:300].all()
    assert found.sum() == 2 * 270
    assert not straight(marked[:, :50]).any()


def layer(*pieces: tuple[str, float, float, float, float]) -> PageImage:
    found = tuple(TextPiece(text, (x0, y0, x1, y1)) for text, x0, y0, x1, y1 in pieces)
    return PageImage(1, Image.new("RGB", (1200, 1600)), found)


def test_its_lines_are_joined_like_any_other_text() -> None:
    read = from_text_layer(
        layer(
            ("The lamp was lit by a self-", 100, 100, 800, 124),
            ("taught keeper, who wrote down every ship that passed", 100, 130, 800, 154),
            ("and its flag.", 100, 160, 260, 184),
        )
    )
    assert read is not None
    assert (
        read.markdown == "The lamp was lit by a selftaught keeper, who wrote down every ship that passed and its flag."
    )
    assert [block.bbox for block in read.blocks] == [(100, 100, 800, 184)]


@pytest.mark.parametrize("text", ["# a hash", "<script>alert(1)</script>", "a *star* and `code`"])
def test_its_characters_never_become_markdown(text: str) -> None:
    from gateway.formats.html import fragment

    read = from_text_layer(layer((text, 100, 100, 500, 124)))
    assert read is not None
    shown = fragment(read.markdown)
    assert not any(tag in shown for tag in ("<h1", "<script", "<em", "<code"))


def test_columns_are_read_one_after_the_other() -> None:
    left = [(f"left {i} words of a line that is long", 100.0, 100.0 + 30 * i, 560.0, 124.0 + 30 * i) for i in range(20)]
    right = [(f"right {i} words of a line as long", 640.0, 100.0 + 30 * i, 1100.0, 124.0 + 30 * i) for i in range(20)]
    read = from_text_layer(layer(*(piece for pair in zip(left, right, strict=True) for piece in pair)))
    assert read is not None
    assert read.markdown.index("left 19") < read.markdown.index("right 0")


def test_a_page_without_a_layer_has_none() -> None:
    assert from_text_layer(PageImage(1, Image.new("RGB", (9, 9)))) is None


@pytest.mark.parametrize(
    "hidden",
    [
        f"1 g {lines(*PROSE, at=(72, 500))}",
        f"{lines(*PROSE, at=(72, 500))} 1 g 60 440 500 90 re f",
        f"{lines(*PROSE, at=(72, 500))} 0 g 60 440 500 90 re f",
    ],
    ids=["white on white", "under white", "under black"],
)
async def test_words_that_nobody_can_see_are_left_out(renderer: Renderer, hidden: str) -> None:
    page = await page_of(renderer, lines("The harbour is open again", "and the ferries run") + " " + hidden)
    assert [piece.text for piece in page.text_layer or ()] == ["The harbour is open again", "and the ferries run"]


@pytest.mark.parametrize(
    "turn",
    ["0 1 -1 0 612 0 cm", "-1 0 0 -1 612 792 cm", "-1 0 0 1 612 0 cm", "0.9 0.43 -0.43 0.9 100 0 cm"],
    ids=["on end", "on its head", "in a mirror", "slanting"],
)
async def test_lines_that_do_not_stand_upright_are_read_from_the_picture(renderer: Renderer, turn: str) -> None:
    assert (await page_of(renderer, f"q {turn} {lines(*PROSE * 4, at=(72, 400))} Q")).text_layer is None
    assert (await page_of(renderer, f"{lines(*PROSE * 4)} q {turn} {lines(*PROSE, at=(72, 400))} Q")).text_layer is None


async def test_words_in_letters_are_read_from_the_picture(renderer: Renderer) -> None:
    assert (await page_of(renderer, "6 Tc " + lines("The keeper trimmed the lamp"))).text_layer is None


async def test_coloured_ink_counts_as_ink(renderer: Renderer) -> None:
    assert (await page_of(renderer, f"{lines(*PROSE)} 1 0 0 rg {SCAN}")).text_layer is None
    assert (await page_of(renderer, f"{lines(*PROSE)} 1 1 0 rg {SCAN}")).text_layer is None
