"""Long and large pages: nothing is cut through, nothing is read twice, and boxes lie where the page has them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shared.contract.document import Box, PageBlock, PageStatus, Usage
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from worker.engines import parts
from worker.engines.base import FigureCrop, PageImage, PageRead, Piece, Restarted
from worker.engines.parts import Part, cut, is_cut, unturned


def page_with(size: tuple[int, int], boxes: list[Box], paper: str = "white", ink: str = "black") -> Image.Image:
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in boxes:
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=ink)
    return image


def bars(image: Image.Image) -> list[Box]:
    """Where the black bars of a picture are, from top to bottom: separate runs of rows in separate runs of columns."""
    dark = np.asarray(image.convert("L")) < 60
    found: list[Box] = []
    for left, right in runs(np.asarray(dark.any(axis=0))):
        found += [(left, top, right, bottom) for top, bottom in runs(np.asarray(dark[:, left:right].any(axis=1)))]
    return sorted(found, key=lambda box: (box[1], box[0]))


def runs(marks: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], marks.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


LINES = [(60, y, 940, y + 12) for y in range(40, 11_900, 32)]
LEFT = [(60, y, 470, y + 12) for y in range(40, 11_900, 34)]
NOTES = [(x, y, x + 700, y + 18) for x in range(100, 4300, 820) for y in range(50, 6900, 50)]
RIGHT = [(530, y, 940, y + 13) for y in range(53, 11_900, 40)]


@pytest.mark.parametrize(
    ("size", "boxes"),
    [
        pytest.param((1000, 12_000), LINES, id="lines"),
        pytest.param((1000, 12_000), LEFT + RIGHT, id="columns whose lines do not meet"),
        pytest.param((12_000, 1000), [(y0, x0, y1, x1) for x0, y0, x1, y1 in LINES], id="wide"),
        pytest.param((5000, 7000), NOTES, id="a drawing"),
    ],
)  # fmt: skip
def test_a_cut_goes_through_nothing(size: tuple[int, int], boxes: list[Box]) -> None:
    found = cut(page_with(size, boxes))
    assert len(found) > 1
    seen = [
        (x0 + part.x, y0 + part.y, x1 + part.x, y1 + part.y) for part in found for x0, y0, x1, y1 in bars(part.image)
    ]
    assert sorted(seen) == sorted(boxes)


def test_parts_are_no_longer_than_an_engine_reads_well() -> None:
    for part in cut(page_with((1000, 12_000), LINES)):
        assert part.image.height < 2 * parts.part_length(1000)


def test_a_band_has_the_papers_colour_where_it_ends() -> None:
    found = cut(page_with((1000, 12_000), LEFT + RIGHT, paper="#203040", ink="black"))
    assert all(part.image.getpixel((0, part.image.height - 1)) == (0x20, 0x30, 0x40) for part in found)


@pytest.mark.parametrize("size", [(1190, 1684), (4000, 2828), (800, 100), (3000, 300), (468, 1400), (1000, 2500)])
def test_pages_of_usual_shapes_are_read_whole(size: tuple[int, int]) -> None:
    assert not is_cut(*size)


@pytest.mark.parametrize("size", [(1224, 19_400), (468, 28_590), (4768, 6740), (1080, 9000), (9000, 1080)])
def test_others_are_read_in_parts(size: tuple[int, int]) -> None:
    assert is_cut(*size)
    assert parts.count(*size) > 1


class Bars:
    """An engine that reads bars, each as a word. ``turned``: it sees every page after so many quarter turns."""

    def __init__(self, *, restarts: int = 0, turned: int = 0) -> None:
        self.restarts, self.turned, self.images = restarts, turned, 0

    async def read(self, page: PageImage, _options: Options) -> AsyncIterator[Piece]:
        self.images += 1
        image = page.image
        for _ in range(self.turned):
            image = image.transpose(Image.Transpose.ROTATE_270)
        blocks = tuple(PageBlock(type="text", bbox=box, text=f"bar{box[3] - box[1]}.") for box in bars(image))
        if self.restarts:
            self.restarts -= 1
            yield "what is void"
            yield Restarted("repetition")
        for i, block in enumerate(blocks):
            yield ("\n\n" if i else "") + block.text
        upright = image if self.turned else None
        markdown = "\n\n".join(block.text for block in blocks)
        yield PageRead(markdown, blocks, usage=Usage(completion_tokens=1), upright=upright, quarters=self.turned)

    def describe(self) -> EngineStatus:
        return EngineStatus("bars", "bars", 1)

    async def check(self) -> None:
        """It cannot die."""

    async def close(self) -> None:
        """It holds nothing."""


HEIGHTS = [(60, y, 940, y + 6 + i % 20) for i, y in enumerate(range(40, 7900, 40))]
WORDS = "\n\n".join(f"bar{y1 - y0}." for _, y0, _, y1 in HEIGHTS)


async def streamed(engine: Bars, image: Image.Image) -> tuple[str, PageRead]:
    text = ""
    async for piece in parts.read(engine, PageImage(1, image), Options()):
        if isinstance(piece, PageRead):
            return text, piece
        text = "" if isinstance(piece, Restarted) else text + piece
    raise AssertionError("no page came")


@pytest.mark.parametrize("restarts", [0, 1, 3])
async def test_the_text_of_the_parts_is_the_text_of_the_page(restarts: int) -> None:
    engine = Bars(restarts=restarts)
    text, read = await streamed(engine, page_with((1000, 8000), HEIGHTS))
    assert (text, read.markdown) == (WORDS, WORDS)
    assert [block.bbox for block in read.blocks] == HEIGHTS
    assert read.status == PageStatus.OK
    assert read.usage.completion_tokens == engine.images > 1


@pytest.mark.parametrize("quarters", [1, 2, 3])
async def test_a_long_page_that_lies_or_stands_on_its_head_is_read_from_its_top(quarters: int) -> None:
    image = page_with((1000, 8000), HEIGHTS)
    for _ in range(4 - quarters):
        image = image.transpose(Image.Transpose.ROTATE_270)
    text, read = await streamed(Bars(turned=quarters), image)
    assert (text, read.markdown) == (WORDS, WORDS)
    dark = np.asarray(image.convert("L")) < 60
    assert all(dark[y0:y1, x0:x1].all() for x0, y0, x1, y1 in (block.bbox for block in read.blocks))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_box_is_turned_back(quarters: int) -> None:
    image = page_with((70, 40), [(5, 10, 25, 17)])
    turned = image
    for _ in range(quarters):
        turned = turned.transpose(Image.Transpose.ROTATE_270)
    (box,) = bars(turned)
    assert unturned(box, image.size, quarters) == (5, 10, 25, 17)


async def test_a_page_that_needs_no_cut_goes_to_the_engine_as_it_is() -> None:
    engine = Bars()
    _, read = await streamed(engine, page_with((1000, 1400), HEIGHTS[:30]))
    assert engine.images == 1
    assert [block.bbox for block in read.blocks] == HEIGHTS[:30]


def joined(*reads: tuple[bool, PageRead]) -> PageRead:
    """What becomes of parts of 10 pixels each; the flags say whether a cut went through running text."""
    image = Image.new("RGB", (10, 10 * len(reads)))
    page = parts.Joined(PageImage(7, image))
    text = ""
    for i, (tight, read) in enumerate(reads):
        page.begin(Part(Image.new("RGB", (10, 10)), 0, 10 * i, tight))
        text += "".join(str(piece) for piece in page.take(read.markdown))
        page.take(read)
    whole = page.page()
    assert text == whole.markdown
    return whole


def read_of(text: str, **more: object) -> PageRead:
    return PageRead(text, (PageBlock(type="text", bbox=(1, 1, 9, 9), text=text),) if text else (), **more)  # type: ignore[arg-type]


def test_a_paragraph_that_goes_on_behind_a_cut_is_one_paragraph() -> None:
    page = joined(
        (False, read_of("The keeper trimmed")), (True, read_of("the lamp.")), (True, read_of("then he slept"))
    )
    assert page.markdown == "The keeper trimmed the lamp.\n\nthen he slept"
    assert [block.bbox for block in page.blocks] == [(1, 1, 9, 19), (1, 21, 9, 29)]
    assert "\n\n".join(block.text for block in page.blocks) == page.markdown


def test_the_worst_part_is_named_and_blank_ones_are_passed_over() -> None:
    bad = read_of("b", status=PageStatus.DEGRADED, reason="unreadable", missing=0.5)
    blank = read_of("", status=PageStatus.SKIPPED, reason="blank")
    page = joined((False, read_of("A")), (False, blank), (False, bad))
    assert (page.status, page.reason, page.missing) == (PageStatus.DEGRADED, "unreadable", 0.25)
    nothing = joined((False, blank), (False, blank))
    assert (nothing.status, nothing.reason, nothing.markdown) == (PageStatus.SKIPPED, "blank", "")


def test_figures_are_numbered_through_the_page() -> None:
    def figure() -> PageRead:
        text = "![](images/7_0.jpg)"
        block = PageBlock(type="image", bbox=(1, 1, 9, 9), text=text)
        return PageRead(text, (block,), (FigureCrop("7_0.jpg", (1, 1, 9, 9), b"jpeg"),))

    page = joined((False, figure()), (False, figure()))
    assert [(made.name, made.bbox) for made in page.figures] == [("7_0.jpg", (1, 1, 9, 9)), ("7_1.jpg", (1, 11, 9, 19))]
    assert page.markdown == "![](images/7_0.jpg)\n\n![](images/7_1.jpg)"
    assert page.blocks[1].text == "![](images/7_1.jpg)"
