"""The real vLLM in the test process, as a worker holds it: an engine on its own loop's thread. See run.py."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image, ImageDraw

from shared.contract.options import Options
from worker.engines.base import PageImage, PageRead, Piece
from worker.engines.vllm_host.settings import VllmSettings

T = TypeVar("T")
ROOT = Path(__file__).parents[2]

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

TEST_ARGS = {
    "load_format": "dummy_scaled",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 256 << 20,
    "skip_mm_profiling": True,
    "logits_processors": ["ocr_test_engine:ForceIds"],
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.engine)


def settings(**changes: Any) -> VllmSettings:
    values: dict[str, Any] = {
        "model_path": os.environ.get("OCR_TINY_MODEL", ""),
        "max_model_len": 4096,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 4096,
        "preprocess_processes": 1,
        "vllm_args": TEST_ARGS,
        **changes,
    }
    return VllmSettings(_env_file=None, **values)


def page(number: int = 1, width: int = 300, height: int = 300) -> PageImage:
    """A page with lines of text that depend on ``number``."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for y in range(10, height - 10, 24):
        draw.text((10, y), f"page {number} line {y} quick brown fox 0123456789 " * 4, fill="black")
    return PageImage(number, image)


@dataclass
class Host:
    """An engine on the loop of a thread of its own."""

    loop: asyncio.AbstractEventLoop
    engine: Any = None

    def run(self, what: Coroutine[Any, Any, T], timeout: float = 150) -> T:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(timeout)

    def start(self, what: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop)

    async def pieces(self, of: PageImage, options: Options | None = None) -> list[Piece]:
        return [piece async for piece in self.engine.read(of, options or Options())]

    def read(self, of: PageImage, options: Options | None = None) -> tuple[list[Piece], PageRead]:
        found = self.run(self.pieces(of, options))
        assert isinstance(found[-1], PageRead)
        return found[:-1], found[-1]

    async def outputs(self, of: PageImage, mode: Any, **sampling: Any) -> AsyncGenerator[Any, None]:
        """vLLM's outputs for one page, without retries."""
        from deepseek_ocr.prompts import DOCUMENT
        from worker.engines.deepseek_ocr.request import PageRequest

        model, request = self.engine.model, PageRequest(DOCUMENT, mode)
        attempt = model.first(request)
        given = model.engine_input(attempt, await self.engine.prepare(of.image, request))
        params = self.engine.sampling(attempt, len(given["prompt_token_ids"]), **sampling)
        async with aclosing(self.engine.generate(given, params)) as outputs:
            async for output in outputs:
                yield output

    async def ids(self, of: PageImage, mode: Any, **sampling: Any) -> list[int]:
        return [i async for output in self.outputs(of, mode, **sampling) for i in output.outputs[0].token_ids]

    @contextmanager
    def saying(self, *answers: str, **limits: Any) -> Iterator[list[Any]]:
        """The next requests say these answers, one after the other, the last one again and again.

        ``limits`` are further sampling parameters. Yields the parameters that were made meanwhile.
        """
        tokenizer = self.engine.model.inputs._tokenizer
        left = [[*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id] for answer in answers]
        made: list[Any] = []
        plain = type(self.engine).sampling

        def sampling(*args: Any, **more: Any) -> Any:
            params = plain(self.engine, *args, **limits, **more)
            params.extra_args = {**(params.extra_args or {}), "force_ids": left.pop(0) if len(left) > 1 else left[0]}
            made.append(params)
            return params

        self.engine.sampling = sampling
        try:
            yield made
        finally:
            del self.engine.sampling


@contextmanager
def hosted(module: str = "worker.engines.deepseek_ocr", **changes: Any) -> Iterator[Host]:
    """A host whose engine, ``load`` of a module, is closed at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    host = Host(loop)
    try:
        host.engine = host.run(import_module(module).load(settings(**changes)))
        try:
            yield host
        finally:
            host.run(host.engine.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    with hosted() as made:
        yield made
