"""The CPU engine as the worker sees it: pages side by side, each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version

from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from shared.errors import EngineDead, OCRError
from worker.engines.base import PageImage, PageRead, Piece, Restarted
from worker.engines.cpu.languages import LANGUAGES
from worker.engines.cpu.reader import Emit, Reader, Stopped
from worker.engines.cpu.recognition import failure
from worker.engines.cpu.threads import Threads

MODEL = "PP-OCRv6 small (RapidOCR 3.10.0)"


def stopper(stop: threading.Event) -> Callable[[], None]:
    """A checkpoint that the reader calls between its stages; it raises ``Stopped`` once nobody waits any more."""

    def checkpoint() -> None:
        if stop.is_set():
            raise Stopped

    return checkpoint


def texts_of(read: PageRead) -> list[str]:
    """The page's Markdown block by block; joined by empty lines they are the whole."""
    texts = [block.text for block in read.blocks if block.text]
    if "\n\n".join(texts) != read.markdown:
        return [read.markdown] if read.markdown else []
    return texts


class _Stream:
    """Blocks on their way from the engine's threads to the event loop that ``read`` runs in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._sent: list[str] = []

    def emit(self, text: str) -> None:
        """In any thread. A loop that is closed has nobody who waits."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, text)

    async def pieces_until(self, done: asyncio.Future[PageRead]) -> AsyncIterator[str]:
        done.add_done_callback(self._end)
        while (text := await self._queue.get()) is not None:
            yield self._piece(text)

    def _end(self, done: asyncio.Future[PageRead]) -> None:
        if not done.cancelled():
            done.exception()  # whoever has stopped reading does not ask for it
        self._queue.put_nowait(None)

    def rest(self, read: PageRead) -> Iterator[str | Restarted]:
        """What is still to be said of the page; all of it again where blocks have changed since they were sent."""
        texts = texts_of(read)
        if texts[: len(self._sent)] != self._sent:
            self._sent = []
            yield Restarted("layout")
        for text in texts[len(self._sent) :]:
            yield self._piece(text)

    def _piece(self, text: str) -> str:
        self._sent.append(text)
        return text if len(self._sent) == 1 else "\n\n" + text


class CpuEngine:
    def __init__(self, reader: Reader, slots: int, more_languages: Iterable[str] = ()) -> None:
        self._reader: Reader | None = reader
        self._threads = Threads(slots)
        self._languages = tuple(sorted({*LANGUAGES, *more_languages}))
        self._version = version("rapidocr")
        self._reading = 0
        self._pages = 0

    async def read(self, page: PageImage, options: Options) -> AsyncIterator[Piece]:
        stop, stream = threading.Event(), _Stream()
        self._reading += 1
        work = asyncio.wrap_future(self._threads.page(lambda: self._read(page, options, stopper(stop), stream.emit)))
        try:
            async for text in stream.pieces_until(work):
                yield text
            read = await work
            for piece in stream.rest(read):
                yield piece
            yield read
        finally:
            stop.set()
            work.cancel()
            self._reading -= 1

    def _read(self, page: PageImage, options: Options, checkpoint: Callable[[], None], emit: Emit) -> PageRead:
        checkpoint()
        if self._reader is None:
            raise EngineDead("the CPU engine was closed")
        try:
            threads = self._threads
            read = self._reader.read(page, options.languages, checkpoint, threads.each, emit, alone=threads.alone)
        except (OCRError, Stopped):
            raise
        except Exception as error:
            raise failure(error) from error
        self._pages += 1
        return read

    def describe(self) -> EngineStatus:
        return EngineStatus(
            name="cpu",
            model=MODEL,
            slots=self._threads.count,
            languages=self._languages,
            version=self._version,
            state="busy" if self._reading >= self._threads.count else "ready",
            metrics={"reading": self._reading, "pages": self._pages},
        )

    async def check(self) -> None:
        if self._reader is None:
            raise EngineDead("the CPU engine was closed")

    async def close(self) -> None:
        self._reader = None
        await asyncio.to_thread(self._threads.close)
