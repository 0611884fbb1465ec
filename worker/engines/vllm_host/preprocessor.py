"""Pictures to the model's input, off the event loop and off vLLM's one thread: a pool of processes and shared memory.

A page's pixels and the model's input lie in an anonymous file of its own (no name in any file system, gone with its
last user); the tensors that go to the engine are that memory. The processes import nothing heavy.
"""

from __future__ import annotations

import asyncio
import mmap
import multiprocessing
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from shared.errors import PreprocessingError
from shared.process import die_with_parent
from worker import pixels
from worker.engines.blank import is_blank
from worker.engines.vllm_host.model import PageLayout, PreparedPage

PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Picture:
    """A page in a file of shared memory: ``width`` x ``height`` pixels from ``begin``, its input from ``offset``."""

    path: str
    begin: int
    width: int
    height: int
    offset: int
    layout: PageLayout


class Preprocessor:
    """``processes`` processes that turn pictures into the model's input. Used from one event loop."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = self._new_pool()
        self._starting: list[Future[int]] = []
        self.pids: set[int] = set()

    def start(self) -> None:
        """Have every process start now, beside what else has to start, rather than with the first pages."""
        self._starting = [self._pool.submit(_ready, number) for number in range(self._processes)]

    async def started(self) -> None:
        self.pids = set(await asyncio.gather(*map(asyncio.wrap_future, self._starting)))

    async def prepare(self, image: Image, layout: PageLayout) -> PreparedPage | None:
        """The model's input for a page, None if it is blank. Raises PreprocessingError."""
        offset = _aligned(pixels.HEAD + image.width * image.height * pixels.CHANNELS)
        with _Memory(offset + layout.size) as memory:
            begin = await asyncio.to_thread(memory.put, image)
            picture = Picture(memory.path, begin, image.width, image.height, offset, layout)
            written = await self._run(picture)
        return PreparedPage(memory.map, offset, layout) if written else None

    async def _run(self, picture: Picture) -> bool:
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _write, picture)
        except BrokenProcessPool as error:
            if pool is self._pool:
                self._pool = self._new_pool()
            raise PreprocessingError("the process that prepared the page died") from error
        except (OSError, ValueError, MemoryError) as error:
            raise PreprocessingError("the page could not be prepared for the engine") from error

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        """Spawned, not forked: this process has threads. Started from the loop's thread (see ``die_with_parent``)."""
        return ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=die_with_parent,
            initargs=(signal.SIGKILL, os.getpid()),
        )


class _Memory:
    """An anonymous file of shared memory; other processes open it by ``path`` while it is entered."""

    def __init__(self, size: int) -> None:
        self._file = os.memfd_create("page")
        os.ftruncate(self._file, size)
        self.map = mmap.mmap(self._file, size)
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def put(self, image: Image) -> int:
        with Path(self.path).open("r+b") as file:
            return pixels.write(image, file)

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _aligned(size: int) -> int:
    return -(-size // PAGE) * PAGE


# -- in a preprocessing process


def _ready(_: int) -> int:
    """An answer that shows that a process has started: its id."""
    return os.getpid()


def _write(picture: Picture) -> bool:
    """Write the model's input beside the picture; False for a blank page, which needs none."""
    with Path(picture.path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        image = pixels.read(memory, picture.begin, picture.width, picture.height)
        if is_blank(image):
            return False
        memory.seek(picture.offset)
        picture.layout.write(image, memory)
    return True
