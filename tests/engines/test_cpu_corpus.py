"""The CPU engine on real scans. The documents lie beside the checkout; without them these tests are skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pypdfium2
import pytest
import pytest_asyncio
from PIL import Image
from rapidfuzz.distance import Levenshtein

from benchmarks.quality import normalised, without_markdown
from shared.contract.options import Options
from tests.settings import Settings
from worker.engines import loader
from worker.engines.base import Engine, PageImage, PageRead

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there"),
    pytest.mark.timeout(600),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Engine]:
    engine = await loader("cpu")(Settings(_env_file=None))
    yield engine
    await engine.close()


def rendered(name: str, index: int) -> Image.Image:
    with pypdfium2.PdfDocument(CORPUS / name) as document:
        image: Image.Image = document[index].render(scale=2).to_pil().convert("RGB")
    return image


async def read(engine: Engine, image: Image.Image) -> PageRead:
    found = [piece async for piece in engine.read(PageImage(1, image), Options())]
    assert isinstance(found[-1], PageRead)
    return found[-1]


def errors(page: PageRead, name: str) -> float:
    """Percent of wrong characters, white space and Markdown left out."""
    want = "".join(normalised((CORPUS / f"{name}.truth.txt").read_text()).split())
    got = "".join(normalised(without_markdown(page.markdown)).split())
    return 100 * Levenshtein.distance(want, got) / len(want)


async def test_an_office_scan(engine: Engine) -> None:
    page = await read(engine, rendered("epson.pdf", 0))
    assert errors(page, "epson") < 1
    assert "# Optical character recognition" in page.markdown.splitlines()
    assert "- 4.1 Pre-processing" in page.markdown


async def test_one_and_two_columns_and_lists_on_one_page(engine: Engine) -> None:
    page = await read(engine, Image.open(CORPUS / "linn.png").convert("RGB"))
    assert errors(page, "linn") < 1
    assert "# The LinnSequencer" in page.markdown.splitlines()
    assert "## Additional Features" in page.markdown.splitlines()
    assert "- Exclusive real-time ERASE function makes editing FAST." in page.markdown.splitlines()


async def test_a_page_that_lies_on_its_side_is_turned(engine: Engine) -> None:
    image = rendered("cardinal.pdf", 1)
    page = await read(engine, image)
    assert errors(page, "linn") < 2
    assert page.upright is not None
    assert page.upright.size == image.size[::-1]
    title = next(block for block in page.blocks if "LinnSequencer" in block.text)
    assert title.bbox[3] < page.upright.height / 4


async def test_a_table_without_lines(engine: Engine) -> None:
    page = await read(engine, Image.open(CORPUS / "borderless.jpg").convert("RGB"))
    table = next(block for block in page.blocks if block.type == "table")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.text.splitlines()]
    assert ["Standard", "Disclosure", "Description", "Location of information"] in rows
    assert ["", "102-7", "Scale of the organization", "2020 10-K"] in rows
