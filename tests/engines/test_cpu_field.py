"""The CPU engine on pages that used to lose text in silence, drawn here so that the right text is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image, ImageDraw, ImageFont

from shared.contract.document import PageStatus, Reason
from shared.contract.options import Options
from tests.settings import Settings
from worker.engines import loader
from worker.engines.base import Engine, PageImage, PageRead, TextPiece
from worker.engines.cpu.second_recogniser import installed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
LINES = ["The lamp was lit at sunset.", "The log was written by the keeper.", "A letter was read and filed."]
OTHER = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Engine]:
    engine = await loader("cpu")(Settings(_env_file=None))
    yield engine
    await engine.close()


def page(lines: list[str], size: int = 28, font: Path | None = None) -> Image.Image:
    image = Image.new("RGB", (900, 60 + 60 * len(lines)), "white")
    face = ImageFont.truetype(font, size) if font else ImageFont.load_default(size)
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((60, 40 + 60 * i), line, fill="black", font=face)
    return image


async def read(engine: Engine, image: Image.Image, options: Options | None = None) -> PageRead:
    found = [piece async for piece in engine.read(PageImage(1, image), options or Options())]
    assert isinstance(found[-1], PageRead)
    return found[-1]


async def test_a_page_that_is_read_is_ok_and_says_how_sure_it_is(engine: Engine) -> None:
    found = await read(engine, page(LINES))
    assert (found.status, found.missing) == (PageStatus.OK, 0.0)
    assert all(block.confidence and block.confidence > 0.9 for block in found.blocks)


@pytest.mark.skipif(not OTHER.exists(), reason="fonts-dejavu is not installed")
@pytest.mark.parametrize(
    "other", ["Смотритель зажигает лампу", "Ο φύλακας ανάβει τη λάμπα", "Thư viện cảng được mở lại vào"]
)
async def test_another_script_is_never_passed_over_in_silence(engine: Engine, other: str) -> None:
    found = await read(engine, page([*LINES, other, other], font=OTHER))
    assert (found.status, found.reason) == (PageStatus.DEGRADED, Reason.UNSUPPORTED_SCRIPT)
    assert found.missing > 0
    assert "The lamp was lit" in found.markdown


@pytest.mark.skipif(not OTHER.exists() or not installed(), reason="fonts-dejavu or tesseract is not installed")
@pytest.mark.parametrize(
    ("language", "other"), [("ru", "Смотритель зажигает лампу"), ("vi", "Thư viện cảng được mở lại vào")]
)
async def test_another_script_is_read_where_its_language_is_named(engine: Engine, language: str, other: str) -> None:
    if language not in engine.describe().languages:
        pytest.skip(f"tesseract has no data for {language}")
    found = await read(engine, page([*LINES, other], font=OTHER), Options(languages=(language,)))
    assert (found.status, found.reason) == (PageStatus.OK, None)
    assert other in found.markdown
    assert "The lamp was lit" in found.markdown


def beside(colour: str, size: int) -> Image.Image:
    """Three lines in black, and three in this colour and size."""
    image = Image.new("RGB", (900, 460), "white")
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(LINES):
        pen.text((60, 40 + 60 * i), line, fill="black", font=ImageFont.load_default(28))
        pen.text((60, 260 + 60 * i), line.upper(), fill=colour, font=ImageFont.load_default(size))
    return image


@pytest.mark.parametrize("colour", ["#f9f9f9", "#f0f0f0"])
async def test_faint_print_beside_dark_is_read(engine: Engine, colour: str) -> None:
    found = await read(engine, beside(colour, 28))
    assert (found.status, found.reason) == (PageStatus.OK, None)
    assert [line for line in LINES if line.upper() not in found.markdown] == []


async def test_a_page_of_faint_print_is_not_blank(engine: Engine) -> None:
    image = page(LINES).point(lambda level: 249 + level * 6 // 255)
    found = await read(engine, image)
    assert (found.status, found.reason) == (PageStatus.OK, None)
    assert [line for line in LINES if line not in found.markdown] == []


async def test_tiny_print_beside_large_is_read_or_said_to_be_too_small(engine: Engine) -> None:
    assert (await read(engine, beside("black", 14))).status == PageStatus.OK
    found = await read(engine, beside("black", 7))
    assert (found.status, found.reason) == (PageStatus.DEGRADED, Reason.TOO_SMALL)


async def test_what_stands_in_the_cells_of_a_form_is_one_word(engine: Engine) -> None:
    image = page(["Member number", "Keeper"])
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for row, word in enumerate(["48210375", "OSWALD"]):
        for i, letter in enumerate(word):
            x, y = 340 + 40 * i, 34 + 60 * row
            pen.rectangle((x, y, x + 40, y + 46), outline="black", width=2)
            pen.text((x + 20, y + 6), letter, fill="black", font=font, anchor="ma")
    found = await read(engine, image)
    assert found.status == PageStatus.OK
    assert {"48210375", "OSWALD"} <= set(found.markdown.split())


async def test_a_picture_without_writing_is_not_called_blank(engine: Engine) -> None:
    image = Image.new("RGB", (600, 600), "white")
    ImageDraw.Draw(image).polygon([(90, 500), (320, 80), (560, 420)], fill="navy")
    found = await read(engine, image)
    assert found.status == PageStatus.DEGRADED
    assert found.figures


async def test_writing_that_runs_upwards_is_read_and_is_no_heading(engine: Engine) -> None:
    image = page([*LINES, *LINES, *LINES, *LINES])
    strip = Image.new("RGB", (560, 44), "white")
    ImageDraw.Draw(strip).text((4, 4), "Downloaded from the archive", fill="black", font=ImageFont.load_default(26))
    image.paste(strip.rotate(90, expand=True), (840, 120))
    found = await read(engine, image)
    assert "Downloaded from the archive" in found.markdown.splitlines()


async def test_more_pieces_than_a_thousand_are_all_read(engine: Engine) -> None:
    image = Image.new("L", (36 * 60 + 60, 36 * 32 + 60), 255)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    numbers = [str(1001 + i) for i in range(36 * 32)]
    for i, number in enumerate(numbers):
        pen.text((30 + 60 * (i % 36), 30 + 36 * (i // 36)), number, fill=0, font=font)
    found = await read(engine, image.convert("RGB"))
    seen = found.markdown.replace("|", " ").split()
    assert [number for number in numbers if number not in seen][:5] == []


def layered(drawn: list[str], layer: list[str]) -> PageImage:
    """A page that shows some lines and says in its own text layer that it shows others, in the same places."""
    image, face = page(drawn), ImageFont.load_default(28)
    boxes = [face.getbbox(line) for line in layer]
    pieces = [
        TextPiece(line, (60 + x0, 40 + 60 * i + y0, 60 + x1, 40 + 60 * i + y1))
        for i, (line, (x0, y0, x1, y1)) in enumerate(zip(layer, boxes, strict=True))
    ]
    return PageImage(1, image, tuple(pieces))


@pytest.mark.parametrize(
    ("layer", "is_taken"),
    [
        ([line.upper() for line in LINES], True),
        (
            ["Thc larnp vvos 1it ot sunsct.", "Thc 1og vvos vvritten hy thc kccpcr.", "A lcttcr vvos rcod ond filcd."],
            False,
        ),
        (["Ferries leave at seven.", "Parcels weigh nineteen kilograms.", "Nobody came in."], False),
        (LINES[:2], False),
    ],
    ids=["the same", "a bad old OCR", "hidden under the picture", "not all of it"],
)
async def test_a_text_layer_counts_where_it_says_what_is_shown(
    engine: Engine, layer: list[str], is_taken: bool
) -> None:
    found = [piece async for piece in engine.read(layered(LINES, layer), Options())][-1]
    assert isinstance(found, PageRead)
    shown = [line.upper() for line in LINES] if is_taken else LINES
    assert [line in found.markdown for line in shown] == [True] * len(shown)
