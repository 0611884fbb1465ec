"""What the engine must show before it takes a page. Each failure is one line, and the worker does not start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from shared.errors import EngineNotReady, OCRError
from worker.engines.vllm_host.model import SamplePage

if TYPE_CHECKING:
    from worker.engines.vllm_host.engine import VllmEngine

logger = logging.getLogger(__name__)

LOOP_TOKENS = 64
TIMEOUT_SECONDS = 600.0

BATCHES = (17, 49, 81, 301, 4001)
"""Tokens of prompts: one for each range in which vLLM tiles the experts' product alike, none a multiple of eight."""


async def run(engine: VllmEngine) -> None:
    """Raises EngineNotReady."""
    began, pages = monotonic(), engine.model.sample_pages()
    try:
        engine.model.check_tokenizer()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await engine.warm_up()
            await compile_for_batches(engine)
            await read_one(engine, pages[0])
            others = (read_one(engine, page) for page in pages[1:])
            await asyncio.gather(break_a_loop(engine, pages[0]), stop_a_loop(engine, pages[0]), *others)
    except TimeoutError as error:
        raise EngineNotReady(f"the engine did not answer its first pages within {TIMEOUT_SECONDS:g} s") from error
    except ValueError as error:
        raise EngineNotReady(str(error)) from error
    except OCRError as error:
        raise EngineNotReady(f"the engine failed its first page: {error}") from error
    logger.info("the engine has read %s shapes of page in %.1f s", len(pages), monotonic() - began)


async def compile_for_batches(engine: VllmEngine) -> None:
    """Prompts of text alone, so that no kernel is compiled under a later page.

    The kernel of the experts is compiled anew at some sizes of batch, and again where a size is no multiple of eight.
    """
    for tokens in BATCHES:
        if tokens < engine.max_model_len:
            given = {"prompt_token_ids": [engine.model.loop_token()] * tokens}
            async with aclosing(engine.generate(given, engine.plain_sampling(max_tokens=1))) as outputs:
                async for _ in outputs:
                    pass


async def read_one(engine: VllmEngine, page: SamplePage) -> None:
    """Two tokens of a page: the prompt is the one we sent."""
    async with aclosing(_outputs(engine, page, max_tokens=2)) as outputs:
        ids = [list(output.prompt_token_ids) async for output in outputs][-1]
    engine.model.check_prompt(page, ids)


async def break_a_loop(engine: VllmEngine, page: SamplePage) -> None:
    """A page that is pushed to repeat one token is kept from it by the n-gram rule, if the model has one."""
    size = _ngram_size(engine, page)
    if size is None:
        return
    ids: set[int] = set()
    async with aclosing(_pushed(engine, page, max_tokens=size + 2)) as outputs:
        async for output in outputs:
            ids.update(output.outputs[0].token_ids)
    if len(ids) < 2:
        raise ValueError("the n-gram rule does nothing: vLLM does not run our logits processor")


async def stop_a_loop(engine: VllmEngine, page: SamplePage) -> None:
    """The same without the rule: the guard sees it, and the request is ended."""
    guard = engine.model.guard(tokens=LOOP_TOKENS)
    async with aclosing(_pushed(engine, page, max_tokens=4 * LOOP_TOKENS, extra_args=None)) as outputs:
        async for output in outputs:
            if guard.feed(output.outputs[0].token_ids, output.outputs[0].text):
                return
    raise ValueError("a looping page is not noticed")


def _ngram_size(engine: VllmEngine, page: SamplePage) -> int | None:
    extra = engine.model.sampling(engine.model.first(page.request)).get("extra_args") or {}
    size: int | None = extra.get("ngram_size")
    return size


def _pushed(engine: VllmEngine, page: SamplePage, **sampling: Any) -> AsyncGenerator[Any, None]:
    return _outputs(engine, page, ignore_eos=True, logit_bias={engine.model.loop_token(): 100.0}, **sampling)


async def _outputs(engine: VllmEngine, page: SamplePage, **more: Any) -> AsyncGenerator[Any, None]:
    attempt = engine.model.first(page.request)
    prepared = await engine.prepare(_lines(page.width, page.height), page.request)
    if prepared is None:
        raise ValueError("a page with lines on it was taken for blank")
    given = engine.model.engine_input(attempt, prepared)
    sampling = engine.sampling(attempt, len(given["prompt_token_ids"]), **more)
    async with aclosing(engine.generate(given, sampling)) as outputs:
        async for output in outputs:
            yield output


def _lines(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for y in range(20, height, 40):
        draw.line((20, y, width - 20, y), fill="black", width=4)
    return image
