"""Every hostile upload gets its verdict, within bounds, and leaves the next one unhurt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache

import pytest
import pytest_asyncio

from gateway.inspector import Inspector
from shared.errors import FileValidationError, OCRError, PreprocessingError
from shared.upload_check import Asked
from tests.hostile.make import ANY, SEED, TAKEN, Case, cases, pdf
from tests.settings import Settings
from worker.render import Renderer

CASES = {case.name: case for case in cases()}
PAGES_TRIED = 2


@cache
def settings() -> Settings:
    return Settings(_env_file=None, render_processes=1, render_timeout=2, inspect_timeout=5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inspector() -> AsyncIterator[Inspector]:
    inspector = Inspector(settings())
    yield inspector
    await inspector.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(settings())
    yield renderer
    await renderer.close()


def test_there_are_enough_and_always_the_same() -> None:
    assert len(CASES) >= 150
    assert [case.data for case in cases()] == [case.data for case in CASES.values()], SEED


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
async def test_verdict(case: Case, inspector: Inspector, renderer: Renderer) -> None:
    try:
        info = await inspector.inspect(case.data, Asked())
    except FileValidationError as error:
        assert case.verdict in {error.code, ANY}
        return
    assert case.verdict in {TAKEN, ANY}
    await read(renderer, case.data, info.media_type)


async def read(renderer: Renderer, data: bytes, media_type: str) -> None:
    """Pages may fail, with a reason; pictures that come are within bounds."""
    upload = await renderer.open(data, media_type)
    try:
        for number in range(1, min(upload.pages, PAGES_TRIED) + 1):
            try:
                image = (await renderer.page(upload, number, text_layer=True)).image
            except PreprocessingError as error:
                assert error.code in {"render-failed", "render-timeout", "render-memory"}
            else:
                assert image.width * image.height <= 48_100_000
                assert max(image.size) <= 32_001
    finally:
        upload.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_after_all_of_them_a_good_upload_is_read(inspector: Inspector, renderer: Renderer) -> None:
    good = pdf(["0 0 m 9 9 l S"])
    assert (await inspector.inspect(good, Asked())).pages == 1
    upload = await renderer.open(good, "application/pdf")
    assert (await renderer.page(upload, 1)).image.size == (1224, 1584)
    upload.close()


def test_every_verdict_is_a_code_of_ours() -> None:
    codes = {error.code for error in _tree(OCRError)}
    assert {case.verdict for case in CASES.values()} <= codes | {ANY, TAKEN}


def _tree(error: type[OCRError]) -> set[type[OCRError]]:
    return {error}.union(*(_tree(child) for child in error.__subclasses__()))
