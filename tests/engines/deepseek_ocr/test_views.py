"""The processes that turn pictures into views: real ones, on real shared memory; no model."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from deepseek_ocr.modes import GUNDAM, MODES, Mode
from deepseek_ocr.tiling import tiles, whole
from shared.errors import PreprocessingError
from tests.open_files import open_files
from worker.engines.deepseek_ocr.views import ViewLayout
from worker.engines.vllm_host.preprocessor import Preprocessor


def layout(image: Image.Image, mode: Mode = GUNDAM) -> ViewLayout:
    return ViewLayout(mode, mode.grid(*image.size))


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


@pytest.fixture
async def preprocessor() -> AsyncIterator[Preprocessor]:
    made = Preprocessor(1)
    made.start()
    await made.started()
    yield made
    made.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_views_are_the_reference_tilings_bytes(preprocessor: Preprocessor, mode: Mode) -> None:
    image = noise(1000, 1400)
    page = await preprocessor.prepare(image, layout(image, mode))
    assert page is not None
    grid = mode.grid(1000, 1400)
    expected = b"".join(view.tobytes() for view in (whole(image, mode), *tiles(image, mode, grid)))
    assert page.memory[page.offset :][: len(expected)] == expected
    assert len(expected) == page.layout.size == len(page.memory) - page.offset


async def test_a_blank_page_has_no_views(preprocessor: Preprocessor) -> None:
    assert await preprocessor.prepare(white := Image.new("RGB", (500, 700), "white"), layout(white)) is None


async def test_pages_do_not_share_memory(preprocessor: Preprocessor) -> None:
    images = [noise(300, 200) for _ in range(4)]
    found = await asyncio.gather(*(preprocessor.prepare(image, layout(image)) for image in images))
    contents = {page.memory[page.offset :] for page in found if page is not None}
    assert contents == {whole(image, GUNDAM).tobytes() for image in images}


async def test_a_process_that_dies_costs_its_page_and_is_replaced(preprocessor: Preprocessor) -> None:
    (pid,) = preprocessor.pids
    os.kill(pid, signal.SIGSTOP)
    page = asyncio.create_task(preprocessor.prepare(noise(300, 200), ViewLayout(GUNDAM, (1, 1))))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PreprocessingError, match="died"):
        await page
    assert await preprocessor.prepare(noise(300, 200), ViewLayout(GUNDAM, (1, 1))) is not None


async def test_no_open_files_are_left_behind(preprocessor: Preprocessor) -> None:
    await preprocessor.prepare(noise(300, 200), ViewLayout(GUNDAM, (1, 1)))
    before = open_files()
    for _ in range(5):
        await preprocessor.prepare(noise(300, 200), ViewLayout(GUNDAM, (1, 1)))
    assert open_files() <= before
