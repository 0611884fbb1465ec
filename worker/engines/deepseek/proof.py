"""What the engine must show before it takes a page. Each failure is one line, and the worker does not start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from deepseek_ocr.modes import GUNDAM, MODES, TINY, Mode, grids
from deepseek_ocr.prompts import DOCUMENT, PROMPTS
from deepseek_ocr.repetition import NGRAM, RepetitionGuard
from deepseek_ocr.tokens import BOS, IMAGE, TABLE
from shared.errors import EngineNotReady, OCRError
from worker.engines.deepseek import ladder
from worker.engines.deepseek.inputs import Inputs

if TYPE_CHECKING:
    from worker.engines.deepseek.engine import DeepSeekEngine

logger = logging.getLogger(__name__)

TEXT = "Größe  1,\n発票 a b"
LOOP_TOKENS = 64
SECONDS = 600.0

Shape = tuple[Mode, int, int]


async def prove(engine: DeepSeekEngine) -> None:
    """Raises EngineNotReady."""
    began = monotonic()
    try:
        check_tokenizer(engine.inputs)
        async with asyncio.timeout(SECONDS):
            await read_one(engine, shapes()[0])
            pages = (read_one(engine, shape) for shape in shapes()[1:])
            await asyncio.gather(break_a_loop(engine), stop_a_loop(engine), *pages)
    except TimeoutError as error:
        raise EngineNotReady(f"the engine did not answer its first pages within {SECONDS:g} s") from error
    except ValueError as error:
        raise EngineNotReady(str(error)) from error
    except OCRError as error:
        raise EngineNotReady(f"the engine failed its first page: {error}") from error
    logger.info("the engine has read %s shapes of page in %.1f s", len(shapes()), monotonic() - began)


def check_tokenizer(inputs: Inputs) -> None:
    """Is it the model's tokenizer, and does it give text back as it was?"""
    inputs.tokens(TABLE)
    for prompt in PROMPTS.values():
        inputs.prompt_ids(prompt)
    if inputs.round_trip(TEXT) != TEXT:
        raise ValueError("the tokenizer changes text: it was loaded as the wrong class (transformers before 5.8?)")


def shapes() -> list[Shape]:
    """A page of every mode, and of every grid of the mode with tiles."""
    plain = [(mode, 300, 300) for mode in MODES.values()]
    return [*plain, *((GUNDAM, 641 * columns, 641 * rows) for columns, rows in grids())]


async def read_one(engine: DeepSeekEngine, shape: Shape) -> None:
    """Two tokens of a page: the prompt is the one we sent, with one BOS, first."""
    mode, width, height = shape
    async with aclosing(_outputs(engine, mode, _page(width, height), max_tokens=2)) as outputs:
        ids = [list(output.prompt_token_ids) async for output in outputs][-1]
    bos, image = engine.inputs.token(BOS), engine.inputs.token(IMAGE)
    if ids[0] != bos or ids.count(bos) != 1:
        raise ValueError(f"the prompt must begin with the token {bos}, once; it begins {ids[:2]}")
    if ids.count(image) != mode.tokens(width, height):
        raise ValueError(f"a {mode.name} page of {width} x {height} has {ids.count(image)} tokens")


async def break_a_loop(engine: DeepSeekEngine) -> None:
    """A page that is pushed to repeat one token is kept from it by the n-gram rule."""
    ids: set[int] = set()
    async with aclosing(_pushed(engine, max_tokens=NGRAM.size + 2)) as outputs:
        async for output in outputs:
            ids.update(output.outputs[0].token_ids)
    if len(ids) < 2:
        raise ValueError("the n-gram rule does nothing: vLLM does not run our logits processor")


async def stop_a_loop(engine: DeepSeekEngine) -> None:
    """The same without the rule: the guard sees it, and the request is ended."""
    guard = RepetitionGuard(tokens=LOOP_TOKENS)
    async with aclosing(_pushed(engine, max_tokens=4 * LOOP_TOKENS, extra_args=None)) as outputs:
        async for output in outputs:
            if guard.feed(output.outputs[0].token_ids):
                return
    raise ValueError("a looping page is not noticed")


def _pushed(engine: DeepSeekEngine, **sampling: Any) -> AsyncGenerator[Any, None]:
    token = engine.inputs.token(TABLE[-1])
    return _outputs(engine, TINY, _page(300, 300), ignore_eos=True, logit_bias={token: 100.0}, **sampling)


async def _outputs(engine: DeepSeekEngine, mode: Mode, page: Image.Image, **more: Any) -> AsyncGenerator[Any, None]:
    views = await engine.preprocessor.views(page, mode)
    if views is None:
        raise ValueError("a page with lines on it was taken for blank")
    given = engine.inputs.engine_input(DOCUMENT, views)
    sampling = engine.sampling(ladder.first(DOCUMENT), len(given["prompt_token_ids"]), **more)
    async with aclosing(engine.generate(given, sampling)) as outputs:
        async for output in outputs:
            yield output


def _page(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for y in range(20, height, 40):
        draw.line((20, y, width - 20, y), fill="black", width=4)
    return image
