"""The engine's own thread, with a reader that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from PIL import Image

from shared.contract.document import PageBlock
from shared.contract.options import Options
from shared.errors import EngineDead, InferenceError
from worker.engines.base import PageImage, PageRead, Restarted
from worker.engines.cpu.engine import CpuEngine
from worker.engines.cpu.reader import Reader, Stopped

IMAGE = Image.new("RGB", (100, 100), "white")


class ToldReader(Reader):
    """Page 1 waits at its checkpoints until nobody wants it any more, page 2 fails, others are read.

    Page 4 emits ``early`` and waits for ``go_on`` before it is done.
    """

    def __init__(self) -> None:
        self.waiting, self.stopped, self.go_on = threading.Event(), threading.Event(), threading.Event()
        self.early: tuple[str, ...] = ()
        self.thread = ""
        self.alone: dict[int, bool] = {}

    def read(
        self,
        page: PageImage,
        languages: Sequence[str],
        checkpoint: Callable[[], None],
        each: object,
        emit: Callable[[str], None],
        *,
        alone: bool,
    ) -> PageRead:
        self.thread = threading.current_thread().name
        self.alone[page.number] = alone
        if page.number == 1:
            self.wait_for_stop(checkpoint)
        if page.number == 2:
            raise ValueError("inside")
        if page.number == 4:
            for text in self.early:
                emit(text)
            assert self.go_on.wait(10)
        blocks = tuple(PageBlock(type="text", bbox=(0, 0, 1, 1), text=text) for text in ("one", "two"))
        return PageRead("one\n\ntwo", blocks)

    def wait_for_stop(self, checkpoint: Callable[[], None]) -> None:
        self.waiting.set()
        pause = threading.Event()
        while True:
            try:
                checkpoint()
            except Stopped:
                self.stopped.set()
                raise
            pause.wait(0.001)


@pytest.fixture
def reader() -> ToldReader:
    return ToldReader()


@pytest.fixture
async def engine(reader: ToldReader) -> AsyncIterator[CpuEngine]:
    engine = CpuEngine(reader, 1)
    yield engine
    await engine.close()


async def read(engine: CpuEngine, number: int) -> list[object]:
    return [piece async for piece in engine.read(PageImage(number, IMAGE), Options())]


async def test_blocks_are_streamed_one_by_one(engine: CpuEngine) -> None:
    assert (await read(engine, 3))[:-1] == ["one", "\n\ntwo"]


async def test_blocks_are_streamed_before_the_page_is_done(engine: CpuEngine, reader: ToldReader) -> None:
    reader.early = ("one",)
    pieces = engine.read(PageImage(4, IMAGE), Options())
    assert await anext(pieces) == "one"
    reader.go_on.set()
    rest = [piece async for piece in pieces]
    assert rest[0] == "\n\ntwo"
    assert isinstance(rest[1], PageRead)


async def test_a_page_whose_blocks_came_out_otherwise_is_streamed_again(engine: CpuEngine, reader: ToldReader) -> None:
    reader.early = ("one and", "two")
    reader.go_on.set()
    assert (await read(engine, 4))[:-1] == ["one and", "\n\ntwo", Restarted("layout"), "one", "\n\ntwo"]


async def test_pages_are_read_in_the_engines_own_thread(engine: CpuEngine, reader: ToldReader) -> None:
    await read(engine, 3)
    assert reader.thread.startswith("cpu-engine")


async def test_a_cancelled_page_stops_at_its_next_checkpoint(engine: CpuEngine, reader: ToldReader) -> None:
    task = asyncio.create_task(read(engine, 1))
    assert await asyncio.to_thread(reader.waiting.wait, 10)
    assert engine.describe().state == "busy"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(reader.stopped.wait, 10)
    assert engine.describe().state == "ready"
    assert len(await read(engine, 3)) == 3


async def test_a_page_knows_whether_it_is_read_alone(reader: ToldReader) -> None:
    engine = CpuEngine(reader, 2)
    await read(engine, 3)
    first = asyncio.create_task(read(engine, 1))
    assert await asyncio.to_thread(reader.waiting.wait, 10)
    await read(engine, 5)
    assert reader.alone == {3: True, 1: True, 5: False}
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.to_thread(reader.stopped.wait, 10)
    await engine.close()


async def test_a_page_of_an_engine_with_one_thread_has_no_idle_threads(engine: CpuEngine, reader: ToldReader) -> None:
    await read(engine, 3)
    assert reader.alone == {3: False}


async def test_a_failure_is_that_of_one_page(engine: CpuEngine) -> None:
    with pytest.raises(InferenceError, match="ValueError"):
        await read(engine, 2)
    await engine.check()
    assert len(await read(engine, 3)) == 3


async def test_a_closed_engine_says_so(reader: ToldReader) -> None:
    engine = CpuEngine(reader, 1)
    await engine.close()
    with pytest.raises(EngineDead):
        await engine.check()
