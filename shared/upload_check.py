"""Is this upload one we read? Decided by its bytes alone, in a helper process (``shared.sandbox``).

PNG and WebP animations count as one page: their first picture. Every frame of a TIFF is a page.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap

import pypdfium2
from PIL import Image

from shared.errors import (
    CorruptFile,
    EncryptedPdf,
    FileEmpty,
    FileTooLarge,
    ImageTooLarge,
    TooManyPages,
    UnsupportedMedia,
)
from shared.sandbox import mapped
from shared.settings import JobSettings
from shared.sniff import PDF, PDF_HEADER_WITHIN, PILLOW_FORMATS, TIFF, allowed_types, media_type

PDFIUM_NEEDS_PASSWORD = 4
CHECKED_PIXELS = 120_000_000  # decoded at most when an upload is checked; later TIFF frames are decoded when read
# What Pillow's readers raise on damaged or hostile bytes, found by fuzzing and in its source.
PARSER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    AttributeError,
    RuntimeError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Sizes in bytes, side in pixels. ``types``: media types that are taken."""

    types: frozenset[str]
    max_file_size: int
    max_pdf_size: int
    max_image_side: int
    max_pages: int

    @classmethod
    def of(cls, settings: JobSettings) -> UploadLimits:
        return cls(
            types=allowed_types(settings.allowed_extensions),
            max_file_size=settings.max_file_size,
            max_pdf_size=settings.max_pdf_size,
            max_image_side=settings.max_image_side,
            max_pages=settings.max_pages,
        )


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """``width`` and ``height``: pixels of the first picture as stored; None for a PDF, which has none yet."""

    media_type: str
    pages: int
    width: int | None = None
    height: int | None = None


def inspect(data: bytes | mmap, filename: str, limits: UploadLimits) -> UploadInfo:
    """Type, pages and size of an upload; raises a ``FileValidationError`` that says why it is refused."""
    if len(data) == 0:
        raise FileEmpty(f"{filename} is empty")
    kind = media_type(data[:PDF_HEADER_WITHIN])
    if kind is None or kind not in limits.types:
        raise UnsupportedMedia(f"{filename} is none of the accepted types: {', '.join(sorted(limits.types))}")
    _check_bytes(data, kind, limits)
    return _inspect_pdf(data, limits) if kind == PDF else _inspect_image(data, kind, limits)


def _check_bytes(data: bytes | mmap, kind: str, limits: UploadLimits) -> None:
    allowed = limits.max_pdf_size if kind in {PDF, TIFF} else limits.max_file_size
    if len(data) > allowed:
        raise FileTooLarge(f"{len(data)} bytes; at most {allowed} are accepted for {kind}")


def _inspect_pdf(data: bytes | mmap, limits: UploadLimits) -> UploadInfo:
    with open_pdf(data) as pdf:
        pages = len(pdf)
    if pages > limits.max_pages:
        raise TooManyPages(f"{pages} pages; at most {limits.max_pages} are accepted")
    return UploadInfo(PDF, pages)


@contextmanager
def open_pdf(data: bytes | mmap) -> Iterator[pypdfium2.PdfDocument]:
    """The document, with at least one page; raises ``EncryptedPdf`` or ``CorruptFile``."""
    try:
        pdf = pypdfium2.PdfDocument(data if isinstance(data, bytes) else _pointed_at(data))
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PDFIUM_NEEDS_PASSWORD:
            raise EncryptedPdf("the PDF needs a password; send it without one") from error
        raise CorruptFile("the PDF is damaged, or has no pages") from error
    try:
        yield pdf
    finally:
        pdf.close()


def _pointed_at(data: mmap) -> object:
    return (ctypes.c_char * len(data)).from_buffer(data)


@contextmanager
def open_image(data: bytes | mmap, kind: str) -> Iterator[Image.Image]:
    """The image, not decoded; what Pillow raises inside the block becomes ``CorruptFile``."""
    try:
        with Image.open(BytesIO(data), formats=[PILLOW_FORMATS[kind]]) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("the image has far too many pixels") from error
    except PARSER_ERRORS as error:
        raise CorruptFile("the image is damaged or cut short") from error


def frames(image: Image.Image, kind: str) -> Iterator[int]:
    """Go to each page of an image in turn: every frame of a TIFF, the first picture of anything else."""
    yield 1
    while kind == TIFF:
        try:
            image.seek(image.tell() + 1)
        except EOFError:
            return
        yield image.tell() + 1


def check_side(image: Image.Image, side: int) -> None:
    """The size the header claims, before any decoding; Pillow itself looks only at a file's first frame."""
    if max(image.size) > side or min(image.size) < 1:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels; at most {side} x {side} are accepted")


def _inspect_image(data: bytes | mmap, kind: str, limits: UploadLimits) -> UploadInfo:
    pages, pixels = 0, 0
    with open_image(data, kind) as image:
        first = image.size
        for pages in frames(image, kind):
            check_side(image, limits.max_image_side)
            if pages > limits.max_pages:
                raise TooManyPages(f"more than {limits.max_pages} pages")
            pixels += image.width * image.height
            if pixels <= CHECKED_PIXELS:
                image.load()
    if pages == 1 and len(data) > limits.max_file_size:
        raise FileTooLarge(f"{len(data)} bytes; at most {limits.max_file_size} are accepted for one picture")
    return UploadInfo(kind, pages, *first)


def inspect_blob(path: str, filename: str, limits: UploadLimits) -> UploadInfo:
    """``inspect`` in a helper process, of a ``Blob``'s bytes."""
    return inspect(mapped(path), filename, limits)
