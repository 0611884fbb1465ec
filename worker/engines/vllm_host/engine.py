"""The engine itself: one page is one request to vLLM, or several where it must be read again.

A page's way: the model's input (child processes) -> vLLM -> deltas -> the model's reader -> text as it is made, then
the page. ``VisionModel.retries`` says what happens to a page that loops or does not end.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import vllm
import vllm.exceptions
from PIL.Image import Image
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from shared.contract.document import PageBlock, PageStatus, Usage, figure_name
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from shared.errors import InferenceError
from worker.engines.base import PageImage, PageRead, Piece, Restarted
from worker.engines.figures import cut_out
from worker.engines.ink import shortfall_of, unread
from worker.engines.text_layer import from_text_layer
from worker.engines.vllm_host import config, self_test
from worker.engines.vllm_host.gpu import Gpu
from worker.engines.vllm_host.launch import launch, shut_down
from worker.engines.vllm_host.liveness import Liveness
from worker.engines.vllm_host.model import (
    BLANK,
    LENGTH,
    REPETITION,
    STOP,
    Attempt,
    LoopGuard,
    ModelCard,
    PreparedPage,
    Request,
    TextReader,
    VisionModel,
)
from worker.engines.vllm_host.preprocessor import Preprocessor
from worker.engines.vllm_host.settings import VllmSettings
from worker.engines.vllm_host.stats import Stats

logger = logging.getLogger(__name__)

# VLLMError is not in every supported version; where it is missing its members are ValueErrors.
REFUSED = (EngineGenerateError, ValueError, getattr(vllm.exceptions, "VLLMError", ValueError))


@dataclass(slots=True)
class Reading:
    """One attempt at a page, while it is made and after. ``ended``: stop, length, repetition or blank."""

    reader: TextReader
    guard: LoopGuard
    ended: str = ""
    prompt_tokens: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Spent:
    """What a page has cost, over all attempts."""

    began: float = field(default_factory=monotonic)
    attempts: int = 0
    prompt_tokens: int = 0
    tokens: int = 0

    def add(self, reading: Reading) -> None:
        self.attempts += 1
        self.prompt_tokens += reading.prompt_tokens
        self.tokens += reading.tokens

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            engine_seconds=round(monotonic() - self.began, 3),
        )


class VllmEngine:
    """Made by ``load``. All calls come from the loop it was made on."""

    def __init__(
        self,
        settings: VllmSettings,
        card: ModelCard,
        model: VisionModel,
        vllm: Any,
        preprocessor: Preprocessor,
        liveness: Liveness,
        stats: Stats,
    ) -> None:
        self.max_model_len, self._vllm, self._liveness, self._stats = settings.max_model_len, vllm, liveness, stats
        self.model, self.preprocessor = model, preprocessor
        self._gpu = Gpu(settings.cuda_device)
        self._info = _info(settings, card)
        self.starting = True

    # -- reading

    async def read(self, page: PageImage, options: Options) -> AsyncGenerator[Piece, None]:
        if given := from_text_layer(page):
            yield given.markdown
            yield given
            return
        request, spent = self.model.request(options), Spent()
        async with aclosing(self._attempts(page, request, spent)) as pieces:
            async for piece in pieces:
                yield piece

    async def _attempts(self, page: PageImage, request: Request, spent: Spent) -> AsyncGenerator[Piece, None]:
        retries, attempt = None, self.model.first(request)
        while True:
            reading = Reading(self.model.reader(page, request, attempt), self.model.guard())
            async with aclosing(self._run(page.image, request, attempt, reading)) as texts:
                async for text in texts:
                    yield text
            spent.add(reading)
            retries = retries or self.model.retries(request, reading.ended)
            following = None if reading.ended in (STOP, BLANK) else next(retries, None)
            if following is None:
                yield await self._page(page, request, reading, spent)
                return
            self._stats.totals["restarts_total"] += 1
            yield Restarted(reading.ended)
            attempt = following

    async def _run(
        self, image: Image, request: Request, attempt: Attempt, reading: Reading
    ) -> AsyncGenerator[str, None]:
        """The Markdown of one attempt as it is made; ``reading`` holds the rest."""
        prepared = await self.prepare(image, request)
        if prepared is None:
            reading.ended = BLANK
            return
        given = self.model.engine_input(attempt, prepared)
        del prepared  # ten megabytes a page: vLLM has them from here on
        sampling = self.sampling(attempt, len(given["prompt_token_ids"]))
        async with aclosing(self.generate(given, sampling)) as outputs:
            async for output in outputs:
                if text := self._take(output, reading):
                    yield text
                if reading.ended:
                    break
        self._stats.finished(reading.ended)
        if text := reading.reader.finish():
            yield text

    async def warm_up(self) -> None:
        """Have vLLM's process do what its model wants done before a first page."""
        await self._vllm.collective_rpc("warm_up")

    async def prepare(self, image: Image, request: Request) -> PreparedPage | None:
        """The model's input for a picture; None if it is blank."""
        return await self.preprocessor.prepare(image, self.model.layout(request, *image.size))

    def _take(self, output: Any, reading: Reading) -> str:
        """One piece of vLLM's output. Raises EngineDead for a page that ends without having been cancelled."""
        made = output.outputs[0]
        reading.prompt_tokens = len(output.prompt_token_ids or ()) or reading.prompt_tokens
        reading.tokens += len(made.token_ids)
        self._stats.totals["generation_tokens_total"] += len(made.token_ids)
        if made.finish_reason in (STOP, LENGTH, REPETITION):
            reading.ended = made.finish_reason
        elif made.finish_reason is not None:
            raise self._liveness.declare_dead(f"vLLM ended a page that nobody cancelled ({made.finish_reason})")
        if reading.guard.feed(made.token_ids, made.text) and reading.ended != STOP:
            reading.ended = REPETITION
        return reading.reader.feed(made.text)

    async def generate(self, given: dict[str, Any], sampling: Any) -> AsyncGenerator[Any, None]:
        """vLLM's outputs for one request, with its errors as ours. Closing it aborts the request."""
        await self._liveness.check()
        self._liveness.began()
        self._stats.totals["prompt_tokens_total"] += len(given["prompt_token_ids"])
        try:
            async with aclosing(self._vllm.generate(given, sampling, uuid.uuid4().hex)) as outputs:
                async for output in outputs:
                    self._liveness.progressed()
                    yield output
        except EngineDeadError as error:
            raise self._liveness.declare_dead("vLLM's process has died") from error
        except REFUSED as error:
            logger.warning("vLLM refused a page", exc_info=error)
            raise InferenceError("The engine refused the page") from error
        finally:
            self._liveness.ended()

    def sampling(self, attempt: Attempt, prompt_tokens: int, **more: Any) -> Any:
        """vLLM's ``SamplingParams`` for one attempt; ``more`` goes before the model's."""
        return SamplingParams(
            **{
                **self.model.sampling(attempt),
                "max_tokens": self.max_model_len - prompt_tokens,
                "output_kind": RequestOutputKind.DELTA,
                **more,
            }
        )

    def plain_sampling(self, **more: Any) -> Any:
        """Greedy, without any rule of the model's."""
        return SamplingParams(temperature=0.0, output_kind=RequestOutputKind.DELTA, **more)

    async def _page(self, page: PageImage, request: Request, reading: Reading, spent: Spent) -> PageRead:
        if reading.ended == BLANK:
            return PageRead("", status=PageStatus.SKIPPED, reason="blank")
        reader, ok = reading.reader, reading.ended == STOP
        figures = [(figure_name(page.number, figure.index), figure.bbox) for figure in reader.figures]
        boxes = [block.bbox for block in reader.blocks] if self.model.covers_page(request) else []
        missing = await asyncio.to_thread(unread, page.image, boxes, has_text=bool(reader.markdown.strip()))
        read = PageRead(
            reader.markdown,
            tuple(PageBlock(type=block.label, bbox=block.bbox, text=block.text) for block in reader.blocks),
            await asyncio.to_thread(cut_out, page.image, figures) if figures else (),
            PageStatus.OK if ok else PageStatus.DEGRADED,
            None if ok else reading.ended,
            spent.attempts,
            spent.usage(),
            missing=0.0 if ok else missing,
        )
        return read.admitting(shortfall_of(missing)) if ok else read

    # -- its own account

    def describe(self) -> EngineStatus:
        memory = self._gpu.memory()
        metrics = {
            **self._stats.metrics(idle=not self._liveness.reading),
            **{f"gpu_memory_{name}": value for name, value in memory.items()},
        }
        return replace(self._info, state=self._state(), gpu_memory_used=memory.get("used"), metrics=metrics)

    def _state(self) -> str:
        if self._liveness.died is not None:
            return "dead"
        if self.starting:
            return "starting"
        return "busy" if self._liveness.reading >= self._info.slots else "ready"

    async def check(self) -> None:
        await self._liveness.check()

    async def close(self) -> None:
        self._liveness.close()
        self.preprocessor.close()
        shut_down(self._vllm)
        config.remove_sockets_folder()


def _info(settings: VllmSettings, card: ModelCard) -> EngineStatus:
    return EngineStatus(
        name=card.engine,
        model=card.model,
        slots=config.slots(settings, card),
        modes=card.modes,
        prompts=card.prompts,
        max_prompt_chars=settings.max_prompt_length if card.prompts else 0,
        version=f"vllm {vllm.__version__}",
    )


Bind = Callable[[Any], VisionModel]
"""Binds a model to the tokenizer vLLM has loaded. Raises ValueError if it is another model's."""


async def load(settings: VllmSettings, card: ModelCard, bind: Bind) -> VllmEngine:
    """Build the engine on the running loop and show that it works; blocks the loop while the model loads.

    Raises EngineNotReady, with one line that says what is wrong. The thread must live as long as the engine.
    ``config.environment`` must have been called before vLLM was imported.
    """
    settings = settings.model_copy(update={"max_num_seqs": config.slots(settings, card)})
    stats = Stats()
    preprocessor = Preprocessor(settings.preprocess_processes)
    try:
        preprocessor.start()
        async_llm, processes = launch(settings, card, stats.logger_factory)
        return await _tested(settings, card, bind, async_llm, processes, preprocessor, stats)
    except BaseException:
        preprocessor.close()
        config.remove_sockets_folder()
        raise


async def _tested(
    settings: VllmSettings,
    card: ModelCard,
    bind: Bind,
    async_llm: Any,
    processes: list[BaseProcess],
    preprocessor: Preprocessor,
    stats: Stats,
) -> VllmEngine:
    liveness = Liveness(async_llm, processes)
    try:
        model = bind(async_llm.get_tokenizer())
        engine = VllmEngine(settings, card, model, async_llm, preprocessor, liveness, stats)
        await preprocessor.started()
        await self_test.run(engine)
    except BaseException:
        liveness.close()
        shut_down(async_llm)
        raise
    engine.starting, liveness.stall = False, settings.engine_stall
    return engine
