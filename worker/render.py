"""One page of an upload -> one RGB picture, made in a process that may die of it.

The upload's bytes lie in a memfd that the children map (``shared.sandbox.Blob``); the picture comes back through
another. So per page only two paths and a few numbers are pickled, and a killed worker leaves no file.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

import pypdfium2
from PIL import Image, ImageOps

from shared.errors import FileValidationError, PreprocessingError, RenderMemory, RenderTimeout
from shared.sandbox import Blob, Failures, SandboxPool, mapped
from shared.sniff import PDF
from shared.upload_check import UploadLimits, check_side, frames, inspect_blob, open_image, open_pdf
from worker import pixels
from worker.engines.base import PageImage
from worker.settings import WorkerSettings

MAX_PIXELS = 16_000_000  # of a rendered PDF page, whatever its shape
POINTS_PER_INCH = 72
MAX_TEXT = 1_000_000  # characters of a page's text layer
FAILURES = Failures(
    timed_out=RenderTimeout,
    crashed=lambda: PreprocessingError("the renderer died on this page"),
    out_of_memory=RenderMemory,
)


@dataclass(frozen=True, slots=True)
class Size:
    """What the pictures are to be: ``dpi`` of PDF pages, ``side`` and ``image_side`` caps in pixels."""

    dpi: int
    side: int
    image_side: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A job's upload, opened once; ``close`` frees its bytes."""

    blob: Blob
    media_type: str
    pages: int

    def close(self) -> None:
        self.blob.close()


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a child says of the pixels that it wrote: their first byte, width and height, bytes per row."""

    begin: int
    width: int
    height: int
    stride: int
    text: str | None


class Renderer:
    """``render_processes`` children that make pictures of pages."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._limits, self._seconds = UploadLimits.of(settings), settings.render_timeout
        self._size = Size(settings.render_dpi, settings.render_max_side, settings.max_image_side)
        self._sandbox = SandboxPool(processes=settings.render_processes, memory=settings.render_memory)

    async def open(self, data: bytes, media_type: str) -> Upload:
        """Take the bytes over and count their pages; raises ``FileValidationError`` or ``PreprocessingError``."""
        blob = Blob(data)
        try:
            info = await self._sandbox.run(
                inspect_blob, blob.path, "upload", self._limits, timeout=self._seconds, failures=FAILURES
            )
        except BaseException:
            blob.close()
            raise
        return Upload(blob, info.media_type, info.pages)

    async def page(self, upload: Upload, number: int, text_layer: bool = False) -> PageImage:
        """The picture of page ``number`` (from 1); raises ``PreprocessingError``, whose ``code`` is the reason."""
        with Blob() as answer:
            work = (upload.blob.path, upload.media_type, number, self._size, text_layer, answer.path)
            done = await self._sandbox.run(render, *work, timeout=self._seconds, failures=FAILURES)
            memory = answer.map()
        image = await asyncio.to_thread(_taken, memory, done)
        return PageImage(number, image, done.text)

    async def close(self) -> None:
        await self._sandbox.close()


def _taken(memory: mmap, done: Rendered) -> Image.Image:
    with memory:
        return pixels.read(memory, done.begin, done.width, done.height, done.stride)


def pages_of(upload: Upload) -> int:
    """How many pages the upload has."""
    return upload.pages


def render(path: str, kind: str, number: int, size: Size, text_layer: bool, answer: str) -> Rendered:
    """In a child: page ``number`` of the blob at ``path``, written as raw RGB to ``answer``."""
    try:
        data = mapped(path)
        if kind == PDF:
            return _pdf_page(data, number, size, text_layer, answer)
        return _write(picture(data, kind, number, size.image_side), answer)
    except FileValidationError as error:
        raise PreprocessingError(error.detail) from error
    except (pypdfium2.PdfiumError, IndexError) as error:
        raise PreprocessingError(f"page {number} cannot be rendered") from error


def _pdf_page(data: bytes | mmap, number: int, size: Size, text_layer: bool, answer: str) -> Rendered:
    with open_pdf(data) as pdf:
        page = pdf[number - 1]
        width, height = page.get_size()
        bitmap = page.render(scale=scale(width, height, size), rev_byteorder=True)
        with Path(answer).open("r+b") as file:
            file.write(bitmap.buffer)
        text = page.get_textpage().get_text_bounded()[:MAX_TEXT] if text_layer else None
        return Rendered(0, bitmap.width, bitmap.height, bitmap.stride, text)


def scale(width: float, height: float, size: Size) -> float:
    """Pixels per point for a page of ``width`` x ``height`` points, capped in side and area."""
    by_area = math.sqrt(MAX_PIXELS / (width * height))
    return min(size.dpi / POINTS_PER_INCH, by_area, size.side / max(width, height))


def _write(image: Image.Image, answer: str) -> Rendered:
    with Path(answer).open("r+b") as file:
        begin = pixels.write(image, file)
    return Rendered(begin, image.width, image.height, image.width * pixels.CHANNELS, None)


def picture(data: bytes | mmap, kind: str, number: int, side: int) -> Image.Image:
    """Page ``number`` of an image upload: upright, RGB, alpha on white; raises ``FileValidationError``."""
    with open_image(data, kind) as image:
        for page in frames(image, kind):
            check_side(image, side)
            if page == number:
                ImageOps.exif_transpose(image, in_place=True)
                image.load()  # what is RGB already is returned as it is, out of the block that closes its file
                return rgb(image)
    raise PreprocessingError(f"there is no page {number}")


def rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit grey scaled (Pillow alone would clip it to white), transparency on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        # 32-bit grey has no agreed white: 16 bits' (PNG is opened so by some Pillows), or the brightest pixel's.
        _, high = image.getextrema()
        top = max(65535.0 if image.mode == "I" else 1.0, float(high))  # type: ignore[arg-type]
    wide = image.convert("I") if image.mode != "F" else image
    return wide.convert("F").point(lambda value: value * (255.0 / top) + 0.0).convert("L")
