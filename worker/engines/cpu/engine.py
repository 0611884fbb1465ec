"""The CPU engine as the worker sees it: pages side by side, each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version

from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from shared.errors import EngineDead, OCRError
from worker.engines.base import PageImage, PageRead, Piece
from worker.engines.cpu.languages import LANGUAGES
from worker.engines.cpu.reader import Reader, Stopped
from worker.engines.cpu.recognition import failure
from worker.engines.cpu.threads import Threads

MODEL = "PP-OCRv6 small (RapidOCR 3.10.0)"


def stopper(stop: threading.Event) -> Callable[[], None]:
    """A checkpoint that the reader calls between its stages; it raises ``Stopped`` once nobody waits any more."""

    def checkpoint() -> None:
        if stop.is_set():
            raise Stopped

    return checkpoint


def pieces_of(read: PageRead) -> list[str]:
    """The page's Markdown block by block; joined they are the whole."""
    texts = [block.text for block in read.blocks if block.text]
    if "\n\n".join(texts) != read.markdown:
        return [read.markdown] if read.markdown else []
    return [text if i == 0 else "\n\n" + text for i, text in enumerate(texts)]


class CpuEngine:
    def __init__(self, reader: Reader, slots: int) -> None:
        self._reader: Reader | None = reader
        self._threads = Threads(slots)
        self._version = version("rapidocr")
        self._reading = 0
        self._pages = 0

    async def read(self, page: PageImage, options: Options) -> AsyncIterator[Piece]:
        stop = threading.Event()
        self._reading += 1
        try:
            read = await asyncio.wrap_future(self._threads.page(lambda: self._read(page, stopper(stop))))
            for piece in pieces_of(read):
                yield piece
            yield read
        finally:
            stop.set()
            self._reading -= 1

    def _read(self, page: PageImage, checkpoint: Callable[[], None]) -> PageRead:
        checkpoint()
        if self._reader is None:
            raise EngineDead("the CPU engine was closed")
        try:
            read = self._reader.read(page, checkpoint, self._threads.each)
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
            languages=tuple(sorted(LANGUAGES)),
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
