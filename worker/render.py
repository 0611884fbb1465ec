"""One page of an upload -> one RGB picture, made in a process that may die of it.

The upload's bytes lie in a memfd that the children map (``shared.blob.Blob``); the picture comes back through
another. So per page only two paths and a few numbers are pickled, and a killed worker leaves no file.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.blob import Blob, mapped
from shared.contract.document import Shortfall
from shared.errors import FileValidationError, OCRError, PreprocessingError, RenderMemory, RenderTimeout
from shared.sandbox import Failures, SandboxPool
from shared.sniff import PDF, TIFF
from shared.upload_check import Asked, UploadLimits, inspect_blob, tiff_pages
from worker import pixels
from worker.engines.base import PageImage, TextPiece
from worker.pdf_annotations import TICKED, annotations_of, flattened, lost_text
from worker.pdf_page import OpenPage, not_drawn, open_page, scale, shortfall, survey
from worker.pictures import Size, picture
from worker.settings import WorkerSettings
from worker.text_layer import own_text
from worker.undrawn import lost_letters, lost_pictures, objects_of

logger = logging.getLogger(__name__)

FAILURES = Failures(
    timed_out=RenderTimeout,
    crashed=lambda: PreprocessingError("the renderer died on this page"),
    out_of_memory=RenderMemory,
)


@dataclass(slots=True)
class Upload:
    """A job's upload, opened once; ``close`` frees its bytes. ``password``: a PDF's.

    ``frames``: where the directory of each page of a TIFF begins, once one of them has been asked for (``looking``).
    """

    blob: Blob
    media_type: str
    pages: int
    password: str | None = field(default=None, repr=False)
    frames: tuple[int, ...] = ()
    looking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def close(self) -> None:
        self.blob.close()


@dataclass(frozen=True, slots=True)
class Work:
    """What a child is to make: page ``number`` of the blob at ``path``, its pixels into the blob at ``answer``.

    ``frame``: where that page's directory begins in a TIFF.
    """

    path: str
    media_type: str
    number: int
    size: Size
    text_layer: bool
    answer: str
    password: str | None = field(default=None, repr=False)
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a child says of the pixels that it wrote: their first byte, width and height, bytes per row."""

    begin: int
    width: int
    height: int
    stride: int
    text: tuple[TextPiece, ...] | None = None
    shortfall: Shortfall | None = None


class Renderer:
    """``render_processes`` children that make pictures of pages."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._limits, self._seconds = UploadLimits.of(settings), settings.render_timeout
        self._size = Size(
            settings.render_dpi, settings.render_max_side, settings.render_max_pixels, settings.max_image_pixels
        )
        self._sandbox = SandboxPool(processes=settings.render_processes, memory=settings.render_memory)

    async def open(self, data: bytes, media_type: str, password: str | None = None) -> Upload:
        """Take the bytes over and count their pages; raises ``FileValidationError`` or ``PreprocessingError``."""
        blob = Blob(data)
        try:
            info = await self._sandbox.run(
                inspect_blob, blob.path, Asked(password=password), self._limits, timeout=self._seconds,
                failures=FAILURES,
            )  # fmt: skip
        except BaseException:
            blob.close()
            raise
        return Upload(blob, info.media_type, info.pages, password)

    async def page(self, upload: Upload, number: int, text_layer: bool = False) -> PageImage:
        """The picture of page ``number`` (from 1); raises ``PreprocessingError``, whose ``code`` is the reason.

        Whatever goes wrong with one page is that page's failure, and no other's.
        """
        try:
            return await self._page(upload, number, text_layer)
        except PreprocessingError:
            raise
        except Exception as error:
            logger.exception("page %s cannot be rendered", number)
            raise PreprocessingError(f"page {number} cannot be rendered") from error

    async def _page(self, upload: Upload, number: int, text_layer: bool) -> PageImage:
        if number > upload.pages:
            raise PreprocessingError(f"there is no page {number}")
        with Blob() as answer:
            work = Work(
                upload.blob.path, upload.media_type, number, self._size, text_layer, answer.path, upload.password,
                await self._frame(upload, number),
            )  # fmt: skip
            done = await self._sandbox.run(render, work, timeout=self._seconds, failures=FAILURES)
            memory = answer.map()
        image = await asyncio.to_thread(_taken, memory, done)
        return PageImage(number, image, done.text, done.shortfall)

    async def _frame(self, upload: Upload, number: int) -> int | None:
        if upload.media_type != TIFF:
            return None
        async with upload.looking:
            if not upload.frames:
                upload.frames = await self._sandbox.run(
                    tiff_frames, upload.blob.path, timeout=self._seconds, failures=FAILURES
                )
        return upload.frames[number - 1]

    async def close(self) -> None:
        await self._sandbox.close()


def _taken(memory: mmap, done: Rendered) -> Image.Image:
    with memory:
        return pixels.read(memory, done.begin, done.width, done.height, done.stride)


def tiff_frames(path: str) -> tuple[int, ...]:
    """In a child: ``tiff_pages`` of a blob. Raises ``PreprocessingError``."""
    try:
        return tiff_pages(mapped(path))
    except FileValidationError as error:
        raise PreprocessingError(error.detail) from error


def render(work: Work) -> Rendered:
    """In a child: the page, written as raw RGB. Raises ``PreprocessingError`` or ``MemoryError``, nothing else."""
    try:
        data = mapped(work.path)
        if work.media_type == PDF:
            return _pdf_page(data, work)
        return _write(picture(data, work.media_type, work.size, work.frame), work.answer)
    except FileValidationError as error:
        raise PreprocessingError(error.detail) from error
    except (OCRError, MemoryError):
        raise
    except Exception as error:
        raise PreprocessingError(f"page {work.number} cannot be rendered ({type(error).__name__})") from error


def _pdf_page(data: bytes | mmap, work: Work) -> Rendered:
    with open_page(data, work.number, work.password) as opened:
        page = opened.page
        sheet = survey(page)
        drawn = scale(sheet, work.size)
        bitmap = page.render(scale=drawn, rev_byteorder=True)
        with Path(work.answer).open("r+b") as file:
            file.write(bitmap.buffer)
        lost = shortfall(page.pdf, sheet, drawn)
        text, lost = _text_and_shortfall(opened, work, bitmap.to_numpy(), lost)
        return Rendered(0, bitmap.width, bitmap.height, bitmap.stride, text, lost)


def _text_and_shortfall(
    opened: OpenPage, work: Work, pixels: NDArray[np.uint8], lost: Shortfall | None
) -> tuple[tuple[TextPiece, ...] | None, Shortfall | None]:
    """The page's own text, where that was asked for and is whole, and what the picture is without."""
    page = opened.page
    annotations, objects = annotations_of(page), objects_of(page)
    pictures, letters = lost_pictures(page, objects, pixels), lost_letters(page, objects)
    with flattened(page, work.number, annotations) as flat:
        cut = lost_text(flat, annotations) if flat else 0.0
        lost = lost or not_drawn(max(pictures, cut), is_cut=opened.is_cut)
        # Which of them are ticked is drawn, not written.
        ticked = any(annotation.kind in TICKED for annotation in annotations)
        wanted = work.text_layer and flat and lost is None and not ticked
        text = own_text(flat, pixels, is_drawn=not letters) if wanted else None
    return text, None if text else lost or not_drawn(letters)


def _write(image: Image.Image, answer: str) -> Rendered:
    with Path(answer).open("r+b") as file:
        begin = pixels.write(image, file)
    return Rendered(begin, image.width, image.height, image.width * pixels.CHANNELS)
