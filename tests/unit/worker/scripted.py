"""A worker's parts with the slow ones scripted: an engine that does what a test says, and no rendering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from PIL import Image

from shared.contract.options import Options
from shared.errors import EngineDead
from tests.settings import Settings
from tools.uploads import picture
from worker.claims import Claim, Claims
from worker.engines.base import PageImage, PageRead, Piece
from worker.engines.instant import InstantEngine
from worker.event_buffer import EventBuffer
from worker.fair_queue import FairQueue
from worker.job_runner import WorkerContext
from worker.render import Renderer, Upload

Script = Callable[[PageImage], AsyncIterator[Piece]]


async def read_at_once(page: PageImage) -> AsyncIterator[Piece]:
    """Some text, and the page."""
    yield f"page {page.number}"
    yield PageRead(f"page {page.number}")


class ScriptedEngine(InstantEngine):
    """Reads by ``script``. ``inside``: pages being read just now; ``most_inside``: the most there ever were at once."""

    def __init__(self, script: Script = read_at_once) -> None:
        super().__init__(0)
        self._script = script
        self.inside: set[int] = set()
        self.most_inside = 0
        self.death: EngineDead | None = None

    async def read(self, page: PageImage, _options: Options) -> AsyncIterator[Piece]:
        self.inside.add(page.number)
        self.most_inside = max(self.most_inside, len(self.inside))
        try:
            async for piece in self._script(page):
                yield piece
        finally:
            self.inside.remove(page.number)

    async def check(self) -> None:
        if self.death is not None:
            raise self.death


class Held:
    """A script whose pages stay inside until ``release`` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, page: PageImage) -> AsyncIterator[Piece]:
        await self.release.wait()
        async for piece in read_at_once(page):
            yield piece


class UnrenderedPages(Renderer):
    """Gives a small picture for every page, without a child process."""

    async def page(self, upload: Upload, number: int, text_layer: bool = False) -> PageImage:
        return PageImage(number, picture(number), () if text_layer else None)


class RecordingClaims(Claims):
    """``begun``: the pages in the order in which they were begun."""

    def __init__(self, claims: Claims) -> None:
        super().__init__(claims.redis, claims.settings, claims.worker)
        self.begun: list[int] = []

    async def page_start(self, claim: Claim, number: int, render_seconds: float | None = None) -> int:
        self.begun.append(number)
        return await super().page_start(claim, number, render_seconds)


def worker_context(
    settings: Settings, claims: Claims, engine: ScriptedEngine, *, render_slots: int = 8, engine_slots: int = 8
) -> WorkerContext:
    return WorkerContext(
        settings=settings,
        engine=engine,
        claims=claims,
        renderer=UnrenderedPages(settings),
        event_buffer=EventBuffer(claims),
        render_slots=FairQueue(render_slots),
        engine_slots=FairQueue(engine_slots),
    )


def red() -> Image.Image:
    return Image.new("RGB", (20, 10), "red")
