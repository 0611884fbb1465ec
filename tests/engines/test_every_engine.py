"""What every engine keeps to, whichever it is. An engine that this environment cannot load is named in ELSEWHERE."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio
from PIL import Image, ImageDraw, ImageFont

from shared.contract.document import PageStatus
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from tests.settings import Settings
from worker.engines import REGISTRY, loader
from worker.engines.base import Engine, PageImage, PageRead, Piece, Restarted, TextPiece

ELSEWHERE = {"deepseek-ocr"}  # needs vLLM: tests/vllm and the GPU tests run it
LINES = ("Quarterly Report", "The harvest was better than expected", "and prices fell by four percent.")


def settings() -> Settings:
    return Settings(_env_file=None, cpu_threads=1)


def written(lines: tuple[str, ...] = LINES, size: tuple[int, int] = (800, 400)) -> Image.Image:
    """A page with these lines, black on white."""
    image = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(32)
    for i, line in enumerate(lines):
        draw.text((40, 40 + 60 * i), line, fill="black", font=font)
    return image


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(set(REGISTRY) - ELSEWHERE))
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """One engine for all tests of a module: loading a model takes seconds."""
    engine = await loader(request.param)(settings())
    yield engine
    await engine.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def pieces(
    engine: Engine, image: Image.Image, number: int = 1, layer: tuple[TextPiece, ...] | None = None
) -> list[Piece]:
    return [piece async for piece in engine.read(PageImage(number, image, layer), Options())]


def streamed(found: list[Piece]) -> str:
    """The text that a watcher has at the end."""
    text = ""
    for piece in found[:-1]:
        text = "" if isinstance(piece, Restarted) else text + str(piece)
    return text


def page_of(found: list[Piece]) -> PageRead:
    assert isinstance(found[-1], PageRead)
    return found[-1]


async def test_text_is_streamed_and_the_page_comes_last_and_once(engine: Engine) -> None:
    found = await pieces(engine, written())
    assert [isinstance(piece, PageRead) for piece in found].count(True) == 1
    assert page_of(found).status == PageStatus.OK
    assert streamed(found).strip() == page_of(found).markdown != ""


async def test_a_full_page_is_streamed_as_it_is_stored(engine: Engine) -> None:
    lines = tuple(f"Line {i} of a page that has more of them than a title." for i in range(12))
    found = await pieces(engine, written(lines, (1000, 900)))
    assert streamed(found).strip() == page_of(found).markdown != ""


async def test_blocks_lie_inside_the_page(engine: Engine) -> None:
    image = written()
    page = page_of(await pieces(engine, image))
    width, height = (page.upright or image).size
    assert page.blocks
    for x1, y1, x2, y2 in [block.bbox for block in page.blocks] + [figure.bbox for figure in page.figures]:
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height


async def test_a_blank_page_is_skipped(engine: Engine) -> None:
    found = await pieces(engine, Image.new("RGB", (600, 800), "white"))
    page = page_of(found)
    assert (page.status, page.reason, page.markdown, streamed(found)) == (PageStatus.SKIPPED, "blank", "", "")


async def test_two_reads_at_once_give_what_one_after_the_other_gives(engine: Engine) -> None:
    images = [written(), written(("Another page", "with two lines"))]
    alone = [page_of(await pieces(engine, image)).markdown for image in images]
    together = await asyncio.gather(*(pieces(engine, image, i + 1) for i, image in enumerate(images)))
    assert [page_of(found).markdown for found in together] == alone
    assert alone[0] != alone[1]


async def test_the_image_is_left_as_it_was(engine: Engine) -> None:
    image = written()
    before = image.tobytes()
    await pieces(engine, image)
    assert image.tobytes() == before


async def test_a_cancelled_read_frees_its_slot(engine: Engine) -> None:
    readers = [asyncio.create_task(pieces(engine, written())) for _ in range(engine.describe().slots % 8 + 1)]
    await asyncio.sleep(0)  # they have begun, or are about to
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert engine.describe().state == "ready"
    assert page_of(await pieces(engine, written())).status == PageStatus.OK


async def test_a_closed_iterator_frees_its_slot(engine: Engine) -> None:
    async with aclosing(engine.read(PageImage(1, written()), Options())) as reading:  # type: ignore[type-var]
        await anext(reading)
    assert engine.describe().state == "ready"
    assert page_of(await pieces(engine, written())).status == PageStatus.OK


async def test_the_text_that_a_pdf_carries_is_taken_when_it_is_given(engine: Engine) -> None:
    """An engine may look whether the picture shows the same words; the last sign tells which of the two was taken."""
    image = written(("What the PDF says.",))
    found = await pieces(engine, image, layer=(TextPiece("What the PDF says!", (40.0, 40.0, 330.0, 80.0)),))
    assert page_of(found).markdown == streamed(found).strip() == "What the PDF says!"


async def test_it_describes_itself(engine: Engine) -> None:
    info = engine.describe()
    assert isinstance(info, EngineStatus)
    assert info.name in REGISTRY
    assert info.model
    assert info.slots >= 1
    await engine.check()


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - ELSEWHERE))
async def test_closing_leaves_no_threads(name: str) -> None:
    before = set(threading.enumerate())
    engine = await loader(name)(settings())
    await pieces(engine, written())
    mine = [thread for thread in threading.enumerate() if thread not in before and "asyncio" not in thread.name]
    await engine.close()
    assert not [thread.name for thread in mine if thread.is_alive()]
