"""One job in a worker, from its claim to its end: render, read, store, page by page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing, closing, nullcontext, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from PIL.Image import Image

from shared import log, tracing
from shared.blob import Blob
from shared.boxes import page_picture
from shared.contract.document import Figure, PageResult, PageStatus
from shared.contract.options import TextLayer
from shared.contract.page_range import parse
from shared.errors import EngineDead, InferenceError, OptionError, PayloadMissing, PreprocessingError
from worker.claims import Claim, Claims
from worker.engines import parts
from worker.engines.base import Engine, PageImage, PageRead, Restarted
from worker.event_buffer import EventBuffer
from worker.fair_queue import WEIGHTS, FairQueue, FairQueueClosed
from worker.render import Renderer, Upload
from worker.settings import WorkerSettings

Figures = Sequence[tuple[str, bytes]]

logger = logging.getLogger(__name__)

ORDER_SECONDS: Final = 2.0  # how long a rendered page waits for its place behind one that is still being rendered


class ClaimLost(Exception):
    """The job is no longer this worker's: cancelled, overdue, or another's. Whatever was read of it is dropped."""


@dataclass(slots=True)
class WorkerContext:
    """What all jobs of a worker share. ``render_slots`` bounds rendered pages, ``engine_slots`` those in the engine.

    ``reader``: as in ``WorkerStatus``.
    """

    settings: WorkerSettings
    engine: Engine
    claims: Claims
    renderer: Renderer
    event_buffer: EventBuffer
    render_slots: FairQueue
    engine_slots: FairQueue
    reader: str = ""
    suspects: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    def close(self) -> None:
        """No further page is begun; those in the engine go on."""
        self.render_slots.close()
        self.engine_slots.close()

    def open(self) -> None:
        """Pages are begun again."""
        self.render_slots.open()
        self.engine_slots.open()


class StartOrder:
    """The order in which the pages of one job are begun: they queue for the engine as they were added.

    A page that takes long to render is overtaken, so that the engine is never kept idle for it. A page that ends
    without having queued (it failed, or was given up) lets the next one go too. For one event loop.
    """

    def __init__(self) -> None:
        self._last: asyncio.Event | None = None

    def add(self) -> StartTurn:
        turn = StartTurn(self._last, asyncio.Event())
        self._last = turn.gone
        return turn


@dataclass(frozen=True, slots=True)
class StartTurn:
    """One page's place in a ``StartOrder``. ``gone``: this page has queued, or never will."""

    before: asyncio.Event | None
    gone: asyncio.Event

    async def wait(self) -> None:
        """Until every page before this one has queued, at most ``ORDER_SECONDS``."""
        if self.before is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(ORDER_SECONDS):
                    await self.before.wait()

    def pass_on(self) -> None:
        """Let the next page go; who queues in the same step of the event loop is before it."""
        self.gone.set()


class JobRunner:
    """Reads the pages of one claimed job that have no result yet, and ends it."""

    def __init__(self, context: WorkerContext, claim: Claim) -> None:
        self._context, self._claim, self._job = context, claim, claim.job
        self._weight = WEIGHTS[claim.job.options.priority]
        self._started = False
        self._start_order = StartOrder()

    async def run(self) -> None:
        """Until every page has ended (finish), or the worker drains (release). Raises ``ClaimLost``, ``EngineDead``."""
        try:
            found = await self._context.claims.upload(self._job.id)
        except PayloadMissing as error:
            await self._context.claims.fail(self._claim, error.code, f"The upload cannot be read: {error.detail}")
            return
        if found is None:
            raise ClaimLost
        # The gateway has checked the upload and counted its pages; the renderer opens it again for every page.
        content, password = found
        upload = Upload(Blob(content), self._job.input.media_type, self._job.input.pages, password)
        del content, found
        with closing(upload), tracing.span("job", self._job.traceparent, job=self._job.id):
            await self._read_pages(upload)
            await self._end()

    async def _read_pages(self, upload: Upload) -> None:
        async with asyncio.TaskGroup() as pages:
            for number in self._pages_to_read():
                try:
                    await self._take_render_slot()
                except FairQueueClosed:
                    return
                # Suspects wait for each other, so other pages must not wait for them.
                turn = (StartOrder() if number in self._claim.starts else self._start_order).add()
                pages.create_task(self._page(upload, number, turn), name=f"{self._job.id}/{number}")

    def _pages_to_read(self) -> list[int]:
        """The pages to read; those that were part of a worker's death come first, for they are read one at a time."""
        numbers = [n for n in parse(self._job.input.page_range, self._job.input.pages) if n not in self._claim.ended]
        return sorted(numbers, key=lambda n: n not in self._claim.starts)

    async def _take_render_slot(self) -> None:
        await self._context.render_slots.enter(self._job.id, self._weight)
        if not self._started:
            self._started = True
            context = self._context
            if not await context.claims.start(self._claim, context.engine.describe().name, context.reader):
                self._context.render_slots.leave(self._job.id)
                raise ClaimLost
            self._log_start()

    def _log_start(self) -> None:
        job, context = self._job, self._context
        log.event(
            logger, "job.started", engine=context.engine.describe().name, pages=job.progress.pages_left,
            attempt=job.attempt + 1, priority=job.options.priority.value,
            filename=job.input.filename if context.settings.log_filenames else None,
        )  # fmt: skip

    async def _page(self, upload: Upload, number: int, turn: StartTurn) -> None:
        log.bind(page=number)  # to this page's task
        try:
            deaths = self._claim.starts.get(number, 0)
            if deaths >= self._context.settings.page_attempts:
                await self._store(failed(number, "poison", deaths))
                return
            async with self._context.suspects if deaths else nullcontext():
                with tracing.span("page", page=number):
                    await self._render_and_read(upload, number, turn)
        finally:
            turn.pass_on()
            self._context.render_slots.leave(self._job.id)

    async def _render_and_read(self, upload: Upload, number: int, turn: StartTurn) -> None:
        began = monotonic()
        try:
            text_layer = self._job.options.text_layer is TextLayer.PREFER
            with tracing.span("render"):
                image = await self._context.renderer.page(upload, number, text_layer=text_layer)
        except PreprocessingError as error:
            await self._store(failed(number, f"{error.code}: {error.detail}"))
            return
        render_seconds = monotonic() - began
        await turn.wait()
        turn.pass_on()
        try:
            async with self._context.engine_slots.place(self._job.id, self._weight):
                attempt = await self._context.claims.page_start(self._claim, number, render_seconds)
                if not attempt:
                    raise ClaimLost
                await self._read(image, attempt)
        except FairQueueClosed:
            return

    async def _read(self, image: PageImage, attempt: int) -> None:
        try:
            async with asyncio.timeout(self._context.settings.page_timeout * parts.count(*image.image.size)):
                with tracing.span("engine"):
                    read = await self._consume(image)
        except TimeoutError:
            await self._store_unread(image, "timeout", attempt)
        except (InferenceError, PreprocessingError, OptionError) as error:
            logger.warning("the page failed: %s", error)
            await self._store_unread(image, f"{error.code}: {error.detail}", attempt)
        except EngineDead:
            await self._context.claims.page_stop(self._claim, image.number, forgive=False)
            raise
        else:
            await self._store_read(image, read.admitting(image.shortfall), attempt)

    async def _consume(self, image: PageImage) -> PageRead:
        event_buffer, began = self._context.event_buffer, monotonic()
        async with aclosing(parts.read(self._context.engine, image, self._job.options)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, PageRead):
                    return piece
                if isinstance(piece, Restarted):
                    event_buffer.restarted(self._claim, image.number, piece.reason)
                else:
                    event_buffer.text(self._claim, image.number, piece)
        raise InferenceError(f"the engine ended without a page after {monotonic() - began:.1f} s")

    async def _store_unread(self, image: PageImage, reason: str, attempts: int) -> None:
        """A page that the engine could not read keeps its image: to be looked at, and to be retried from."""
        size = {"width": image.image.width, "height": image.image.height}
        page = failed(image.number, reason, attempts).model_copy(update=size)
        await self._store(page, await self._picture(image.image))

    async def _store_read(self, image: PageImage, read: PageRead, attempt: int) -> None:
        seen = read.upright or image.image
        page = PageResult(
            number=image.number,
            status=read.status,
            width=seen.width,
            height=seen.height,
            reason=read.reason,
            missing=round(read.missing, 3),
            attempts=attempt - 1 + read.attempts,
            markdown=read.markdown,
            blocks=read.blocks,
            figures=tuple(Figure(name=figure.name, bbox=figure.bbox) for figure in read.figures),
            usage=read.usage,
        )
        figures = [(figure.name, figure.jpeg) for figure in read.figures]
        await self._store(page, await self._picture(seen), figures)

    async def _picture(self, image: Image) -> bytes | None:
        if not self._context.settings.keep_page_images:
            return None
        return await asyncio.to_thread(page_picture, image, self._context.settings.page_image_quality)

    async def _store(self, page: PageResult, picture: bytes | None = None, figures: Figures = ()) -> None:
        await self._context.event_buffer.flush(self._job.id)
        with tracing.span("store.page_end"):
            if not await self._context.claims.page_end(self._claim, page, picture, figures):
                raise ClaimLost
        log.event(
            logger, "page.done", status=page.status.value, reason=_code(page.reason), attempts=page.attempts,
            ms=log.milliseconds(page.usage.engine_seconds), tokens=page.usage.completion_tokens or None,
        )  # fmt: skip

    async def _end(self) -> None:
        await self._context.event_buffer.flush(self._job.id)
        if await self._context.claims.finish(self._claim) == "incomplete":
            await self._context.claims.release(self._claim)


def _code(reason: str | None) -> str | None:
    """Of ``code: detail``; the detail is for the caller."""
    return None if reason is None else reason.partition(":")[0]


def failed(number: int, reason: str, attempts: int = 1) -> PageResult:
    return PageResult(number=number, status=PageStatus.FAILED, reason=reason, attempts=max(1, attempts))
