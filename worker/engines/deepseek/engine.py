"""The engine itself: one page is one request to vLLM, or several where it must be read again.

A page's way: prompt and views (child processes) -> vLLM -> deltas -> ``PageReader`` -> text as it is made, then the
page. ``ladder`` says what happens to a page that loops or does not end.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
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

from deepseek_ocr.engine import MODEL, SAMPLING
from deepseek_ocr.modes import MODES, Mode
from deepseek_ocr.page import PageReader
from deepseek_ocr.repetition import RepetitionGuard
from deepseek_ocr.tokens import TABLE
from shared.contract.document import Block, PageStatus, Usage, figure_name
from shared.contract.options import Options
from shared.errors import InferenceError
from shared.settings import Settings
from worker.engines.base import EngineInfo, PageImage, PageRead, Piece, Restarted
from worker.engines.deepseek import ladder
from worker.engines.deepseek.asked import mode_for, prompt_for
from worker.engines.deepseek.build import build
from worker.engines.deepseek.figures import cut_out
from worker.engines.deepseek.inputs import Inputs
from worker.engines.deepseek.ladder import LENGTH, REPETITION, Try
from worker.engines.deepseek.preprocess import Preprocessor
from worker.engines.deepseek.proof import prove
from worker.engines.deepseek.start import remove_sockets_folder
from worker.engines.deepseek.stats import Gpu, Stats
from worker.engines.deepseek.watch import Watch
from worker.engines.text_layer import from_text_layer

logger = logging.getLogger(__name__)

# VLLMError is not in every supported version; where it is missing its members are ValueErrors.
REFUSED = (EngineGenerateError, ValueError, getattr(vllm.exceptions, "VLLMError", ValueError))


@dataclass(slots=True)
class Attempt:
    """One reading of a page, while it is made and after. ``ended``: stop, length or repetition."""

    reader: PageReader
    guard: RepetitionGuard
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

    def add(self, attempt: Attempt) -> None:
        self.attempts += 1
        self.prompt_tokens += attempt.prompt_tokens
        self.tokens += attempt.tokens

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            engine_seconds=round(monotonic() - self.began, 3),
        )


class DeepSeekEngine:
    """Made by ``load``. All calls come from the loop it was made on."""

    def __init__(self, settings: Settings, vllm: Any, preprocessor: Preprocessor, watch: Watch, stats: Stats) -> None:
        self._settings, self._vllm, self._watch, self._stats = settings, vllm, watch, stats
        self.inputs = Inputs(vllm.get_tokenizer(), settings.max_model_len)
        self.preprocessor = preprocessor
        self._gpu = Gpu(settings.cuda_device)
        self._patient = frozenset(self.inputs.tokens(TABLE))
        self._info = _info(settings)
        self.starting = True

    # -- reading

    async def read(self, page: PageImage, options: Options) -> AsyncGenerator[Piece, None]:
        if given := from_text_layer(page):
            yield given.markdown
            yield given
            return
        prompt, mode = prompt_for(options), mode_for(options)
        self.inputs.ids(prompt, mode.max_tokens)  # a prompt that cannot be sent is refused before any work
        spent = Spent()
        async with aclosing(self._tries(page, prompt, mode, spent)) as pieces:
            async for piece in pieces:
                yield piece

    async def _tries(self, page: PageImage, prompt: str, mode: Mode, spent: Spent) -> AsyncGenerator[Piece, None]:
        tries, current = None, ladder.first(prompt)
        while True:
            attempt = self._attempt(page)
            async with aclosing(self._run(page.image, mode, current, attempt)) as texts:
                async for text in texts:
                    yield text
            spent.add(attempt)
            tries = tries or ladder.after(prompt, attempt.ended)
            following = None if attempt.ended in ("stop", "blank") else next(tries, None)
            if following is None:
                yield await self._page(page, attempt, spent)
                return
            self._stats.totals["restarts_total"] += 1
            yield Restarted(attempt.ended)
            current = following

    def _attempt(self, page: PageImage) -> Attempt:
        reader = PageReader(*page.image.size, link=lambda index: f"images/{figure_name(page.number, index)}")
        return Attempt(reader, RepetitionGuard(patient=self._patient))

    async def _run(self, image: Image, mode: Mode, how: Try, attempt: Attempt) -> AsyncGenerator[str, None]:
        """The Markdown of one attempt as it is made; ``attempt`` holds the rest."""
        views = await self.preprocessor.views(image, mode)
        if views is None:
            attempt.ended = "blank"
            return
        given = self.inputs.engine_input(how.prompt, views)
        del views  # ten megabytes a page: vLLM has them from here on
        sampling = self.sampling(how, len(given["prompt_token_ids"]))
        async with aclosing(self.generate(given, sampling)) as outputs:
            async for output in outputs:
                if text := self._take(output, attempt):
                    yield text
                if attempt.ended:
                    break
        self._stats.finished(attempt.ended)
        if text := attempt.reader.finish():
            yield text

    def _take(self, output: Any, attempt: Attempt) -> str:
        """One piece of vLLM's output. Raises EngineDead for a page that ends without having been cancelled."""
        made = output.outputs[0]
        attempt.prompt_tokens = len(output.prompt_token_ids or ()) or attempt.prompt_tokens
        attempt.tokens += len(made.token_ids)
        self._stats.totals["generation_tokens_total"] += len(made.token_ids)
        if made.finish_reason in ("stop", LENGTH, REPETITION):
            attempt.ended = made.finish_reason
        elif made.finish_reason is not None:
            raise self._watch.declare_dead(f"vLLM ended a page that nobody cancelled ({made.finish_reason})")
        if attempt.guard.feed(made.token_ids) and attempt.ended != "stop":
            attempt.ended = REPETITION
        return attempt.reader.feed(made.text)

    async def generate(self, given: dict[str, Any], sampling: Any) -> AsyncGenerator[Any, None]:
        """vLLM's outputs for one request, with its errors as ours. Closing it aborts the request."""
        await self._watch.check()
        self._watch.began()
        self._stats.totals["prompt_tokens_total"] += len(given["prompt_token_ids"])
        try:
            async with aclosing(self._vllm.generate(given, sampling, uuid.uuid4().hex)) as outputs:
                async for output in outputs:
                    self._watch.progressed()
                    yield output
        except EngineDeadError as error:
            raise self._watch.declare_dead("vLLM's process has died") from error
        except REFUSED as error:
            logger.warning("vLLM refused a page", exc_info=error)
            raise InferenceError("The engine refused the page") from error
        finally:
            self._watch.ended()

    def sampling(self, how: Try, prompt_tokens: int, **more: Any) -> Any:
        whitelist = self.inputs.tokens(how.rule.whitelist)
        return SamplingParams(
            **{
                **SAMPLING,
                "temperature": how.temperature,
                "max_tokens": self._settings.max_model_len - prompt_tokens,
                "output_kind": RequestOutputKind.DELTA,
                "extra_args": how.rule.extra_args(whitelist),
                **more,
            }
        )

    async def _page(self, page: PageImage, attempt: Attempt, spent: Spent) -> PageRead:
        if attempt.ended == "blank":
            return PageRead("", status=PageStatus.SKIPPED, reason="blank")
        reader, ok = attempt.reader, attempt.ended == "stop"
        figures = [(figure_name(page.number, figure.index), figure.bbox) for figure in reader.figures]
        return PageRead(
            reader.markdown,
            tuple(Block(type=block.label, bbox=block.bbox, text=block.text) for block in reader.blocks),
            await asyncio.to_thread(cut_out, page.image, figures) if figures else (),
            PageStatus.OK if ok else PageStatus.DEGRADED,
            None if ok else attempt.ended,
            spent.attempts,
            spent.usage(),
        )

    # -- its own account

    def describe(self) -> EngineInfo:
        memory = self._gpu.memory()
        metrics = {
            **self._stats.metrics(idle=not self._watch.reading),
            **{f"gpu_memory_{name}": value for name, value in memory.items()},
        }
        return replace(self._info, state=self._state(), gpu_memory_used=memory.get("used"), metrics=metrics)

    def _state(self) -> str:
        if self._watch.died is not None:
            return "dead"
        if self.starting:
            return "starting"
        return "busy" if self._watch.reading >= self._settings.max_num_seqs else "ready"

    async def check(self) -> None:
        await self._watch.check()

    async def close(self) -> None:
        self._watch.close()
        self.preprocessor.close()
        self._vllm.shutdown()  # not in a thread: its own tasks would take the end for a crash
        remove_sockets_folder()


def _info(settings: Settings) -> EngineInfo:
    return EngineInfo(
        name="deepseek-ocr",
        model=MODEL,
        slots=settings.max_num_seqs,
        modes=tuple(MODES),
        prompts=True,
        max_prompt_chars=settings.max_prompt_length,
        version=f"vllm {vllm.__version__}",
    )


async def load(settings: Settings) -> DeepSeekEngine:
    """See ``worker.engines.deepseek_ocr.load``."""
    stats = Stats()
    preprocessor = Preprocessor(settings.preprocess_processes)
    try:
        preprocessor.start()
        async_llm, processes = build(settings, stats.logger_factory)
        return await _proven(settings, async_llm, processes, preprocessor, stats)
    except BaseException:
        preprocessor.close()
        remove_sockets_folder()
        raise


async def _proven(
    settings: Settings, async_llm: Any, processes: list[BaseProcess], preprocessor: Preprocessor, stats: Stats
) -> DeepSeekEngine:
    watch = Watch(async_llm, processes)
    try:
        engine = DeepSeekEngine(settings, async_llm, preprocessor, watch, stats)
        await preprocessor.started()
        await prove(engine)
    except BaseException:
        watch.close()
        async_llm.shutdown()
        raise
    engine.starting, watch.stall = False, settings.engine_stall
    return engine
