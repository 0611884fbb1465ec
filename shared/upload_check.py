"""Is this upload one we read? Decided by its bytes alone, in a helper process (``shared.sandbox``).

Animations (PNG, WebP, GIF, AVIF) count as one page: their first picture that shows anything. Every frame of a TIFF is a
page, but for previews (reduced copies) and masks, which are none.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, RawIOBase
from mmap import mmap
from typing import TYPE_CHECKING, BinaryIO, cast

import pypdfium2
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from shared.blob import mapped
from shared.contract import page_range
from shared.errors import (
    CorruptFile,
    EncryptedPdf,
    FileEmpty,
    FileTooLarge,
    ImageTooLarge,
    TooManyPages,
    UnsupportedMedia,
)
from shared.sniff import HEIC, PDF, PDF_HEADER_WITHIN, PILLOW_FORMATS, TIFF, allowed_types, can_read, media_type

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from shared.settings import JobSettings  # and with it pydantic, which a sandbox does without

PDFIUM_NEEDS_PASSWORD = 4
CHECKED_PIXELS = 120_000_000  # decoded at most when an upload is checked; later TIFF frames are decoded when read
NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255  # TIFF tags
REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # the value of SubfileType
BIG_TIFF = b"II\x2b\0"  # Pillow reads no other
ONE_OF_MANY = "the file holds several pictures, of which one is read"
UNKNOWN_TIFF = "the TIFF's kind of pixels is not read: save it as grey or RGB of 8 bits each"
SMALLER = 0.75  # of a page's longer side: a frame above it is no reduced copy of that page
Image.MAX_IMAGE_PIXELS = None  # ``check_area`` is the limit: an operator's, and of every frame
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
    """Sizes in bytes. ``types``: media types that are taken. ``max_pages``: pages of one job."""

    types: frozenset[str]
    max_file_size: int
    max_pdf_size: int
    max_image_pixels: int
    max_pages: int

    @classmethod
    def of(cls, settings: JobSettings) -> UploadLimits:
        return cls(
            types=allowed_types(settings.allowed_extensions),
            max_file_size=settings.max_file_size,
            max_pdf_size=settings.max_pdf_size,
            max_image_pixels=settings.max_image_pixels,
            max_pages=settings.max_pages,
        )


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """``pages``: of the whole document; ``numbers``: those to be read.

    ``note``: what is not read: pages that were asked for and are not there, attached files, pictures of an animation.
    ``width`` and ``height``: pixels of the first picture as stored; None for a PDF, which has none yet.
    """

    media_type: str
    pages: int
    numbers: tuple[int, ...]
    width: int | None = None
    height: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a submission says of its file: a name for messages, the field ``pages``, a PDF's password."""

    filename: str = "upload"
    pages: str | None = None
    password: str | None = field(default=None, repr=False)


def inspect(data: bytes | mmap, asked: Asked, limits: UploadLimits) -> UploadInfo:
    """Type, pages and size of an upload; raises a ``FileValidationError`` that says why it is refused.

    Raises ``BadPageRange`` where the pages asked for are not in it.
    """
    if len(data) == 0:
        raise FileEmpty(f"{asked.filename} is empty")
    kind = _accepted(data, asked.filename, limits)
    _check_bytes(data, kind, limits)
    return _inspect_pdf(data, asked, limits) if kind == PDF else _inspect_image(data, kind, asked, limits)


def _accepted(data: bytes | mmap, filename: str, limits: UploadLimits) -> str:
    kind = media_type(data[:PDF_HEADER_WITHIN])
    if kind == HEIC and not can_read(kind):
        raise UnsupportedMedia(
            f"{filename} is a HEIC picture, which this service cannot decode: export it as JPEG, or install the"
            " service's extra heic"
        )
    if kind is None or kind not in limits.types:
        raise UnsupportedMedia(f"{filename} is not of an accepted type; accepted: {', '.join(sorted(limits.types))}")
    return kind


def _check_bytes(data: bytes | mmap, kind: str, limits: UploadLimits) -> None:
    if kind not in {PDF, TIFF}:
        _check_picture_bytes(data, limits)
    elif len(data) > limits.max_pdf_size:
        raise FileTooLarge(f"{len(data)} bytes; at most {limits.max_pdf_size} (MAX_PDF_SIZE) are accepted for {kind}")


def _check_picture_bytes(data: bytes | mmap, limits: UploadLimits) -> None:
    if len(data) > limits.max_file_size:
        raise FileTooLarge(
            f"{len(data)} bytes; at most {limits.max_file_size} (MAX_FILE_SIZE) are accepted for one picture, and"
            f" {limits.max_pdf_size} (MAX_PDF_SIZE) for a PDF, which may hold that picture"
        )


def _chosen(pages: int, asked: Asked, limits: UploadLimits) -> page_range.Chosen:
    """The pages to read; the limit counts these, not the document's."""
    chosen = page_range.choose(asked.pages or "1-", pages)
    if len(chosen.numbers) > limits.max_pages:
        raise TooManyPages(
            f"{len(chosen.numbers)} pages; at most {limits.max_pages} (MAX_PAGES) are accepted: ask for some of them"
            " with the field pages"
        )
    return chosen


def _inspect_pdf(data: bytes | mmap, asked: Asked, limits: UploadLimits) -> UploadInfo:
    with open_pdf(data, asked.password) as pdf:
        pages, attached = len(pdf), pdf.count_attachments()
    chosen = _chosen(pages, asked, limits)
    unread = f"{attached} attached {'file is' if attached == 1 else 'files are'} not read" if attached else None
    return UploadInfo(PDF, pages, chosen.numbers, note=_joined(chosen.note, unread))


def _joined(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


@contextmanager
def open_pdf(data: bytes | mmap, password: str | None = None) -> Iterator[pypdfium2.PdfDocument]:
    """The document, with at least one page; raises ``EncryptedPdf`` or ``CorruptFile``."""
    try:
        pdf = pypdfium2.PdfDocument(data if isinstance(data, bytes) else _pointed_at(data), password=password)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PDFIUM_NEEDS_PASSWORD:
            wrong = "the field password does not open it" if password else "send it in the field password"
            raise EncryptedPdf(f"the PDF needs a password; {wrong}") from error
        raise CorruptFile("the PDF is damaged, or has no pages") from error
    try:
        yield pdf
    finally:
        pdf.close()


def _pointed_at(data: mmap) -> object:
    return (ctypes.c_char * len(data)).from_buffer(data)


@contextmanager
def open_image(data: bytes | mmap, kind: str, frame: int | None = None) -> Iterator[Image.Image]:
    """The image, not decoded; what Pillow raises inside the block becomes ``CorruptFile``.

    ``frame``: where the directory of the page to open begins (``tiff_pages``). Pillow parses the directories of
    all pages before the one it goes to, so that the pages of a long TIFF would each cost more than the one before.
    """
    if kind == HEIC:
        _register_heic()
    # a TIFF may be long, and each of its pages opens it anew
    file = cast(BinaryIO, _MappedFile(data)) if kind == TIFF and isinstance(data, mmap) else BytesIO(data)
    try:
        if frame is not None:
            _begin_at(file, frame)
        with Image.open(file, formats=[PILLOW_FORMATS[kind]]) as image:
            yield image
    except PARSER_ERRORS as error:
        if kind == TIFF and _is_unknown_tiff(file, error):
            raise UnsupportedMedia(UNKNOWN_TIFF) from error
        raise CorruptFile("the image is damaged or cut short") from error


class _MappedFile(RawIOBase):
    """A private mapping as Pillow reads and changes a file; not copied. Read it whole with ``getvalue``, as libtiff is
    given the file by Pillow."""

    def __init__(self, data: mmap) -> None:
        self._data, self._at = data, 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer) as taken, memoryview(self._data) as held:
            found = held[self._at : self._at + len(taken)]
            taken[: len(found)] = found
            self._at += len(found)
            return len(found)

    def write(self, data: ReadableBuffer) -> int:
        with memoryview(data) as given:
            self._data[self._at : self._at + len(given)] = given
            self._at += len(given)
            return len(given)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        begin = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: len(self._data)}[whence]
        if begin + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def getvalue(self) -> mmap:
        return self._data


def _begin_at(file: BinaryIO, frame: int) -> None:
    """Have a TIFF's header name this directory as its first."""
    header = file.read(4)
    order = "<" if header[:2] == b"II" else ">"
    at, width = (8, "Q") if header == BIG_TIFF else (4, "L")
    file.seek(at)
    file.write(struct.pack(order + width, frame))
    file.seek(0)


def _is_unknown_tiff(file: BinaryIO, error: Exception) -> bool:
    """Whether what Pillow does not know of a TIFF is the kind of its pixels."""
    if isinstance(error, UnidentifiedImageError):  # which says nothing of the reason
        file.seek(0)
        try:
            with TiffImageFile(file):
                return False
        except PARSER_ERRORS as reason:
            error = reason
    return isinstance(error, SyntaxError) and str(error) == "unknown pixel mode"


def _register_heic() -> None:
    from pi_heif import register_heif_opener  # an extra

    register_heif_opener()


def tiff_pages(data: bytes | mmap) -> tuple[int, ...]:
    """Where the directory of each page begins, in bytes."""
    with open_image(data, TIFF) as image:
        return tuple(image.tag_v2.offset for _ in frames(image, TIFF))  # type: ignore[attr-defined]


def frames(image: Image.Image, kind: str) -> Iterator[int]:
    """Go to each page of an image in turn: the frames of a TIFF, the first picture of anything else."""
    if kind != TIFF:
        yield 1
        return
    found, least = 0, math.inf
    for _ in _tiff_frames(image):
        if not _is_aside(image, least):
            found += 1
            least = SMALLER * max(image.size)
            yield found
    if not found:  # all are said to be copies of something: then the largest are the pages
        yield from _largest_frames(image)


def _largest_frames(image: Image.Image) -> Iterator[int]:
    image.seek(0)
    sides = [0 if _is_mask(image) else max(image.size) for _ in _tiff_frames(image)]
    image.seek(0)
    found = 0
    for _, side in zip(_tiff_frames(image), sides, strict=True):
        if side > SMALLER * max(sides) or not any(sides):
            found += 1
            yield found


def _is_mask(image: Image.Image) -> bool:
    return bool(_kind_of_frame(image) & MASK)


def _kind_of_frame(image: Image.Image) -> int:
    return int(image.tag_v2.get(NEW_SUBFILE_TYPE, 0))  # type: ignore[attr-defined]  # only Pillow's TIFF images have it


def _tiff_frames(image: Image.Image) -> Iterator[None]:
    while True:
        yield
        try:
            image.seek(image.tell() + 1)
        except EOFError:
            return


def _is_aside(image: Image.Image, least: float) -> bool:
    """Whether a TIFF says of this frame that it is a smaller copy of another, or a mask for one.

    ``least``: pixels of a side from which on it is no smaller than the page before it, whatever is said of it.
    """
    old = image.tag_v2.get(SUBFILE_TYPE)  # type: ignore[attr-defined]
    is_copy = bool(_kind_of_frame(image) & REDUCED) or old == OLD_REDUCED
    return _is_mask(image) or (is_copy and max(image.size) <= least)


def check_area(image: Image.Image, pixels: int) -> None:
    """The size the header claims, before any decoding; Pillow itself looks only at a file's first frame."""
    if image.width * image.height > pixels:
        raise ImageTooLarge(
            f"{image.width} x {image.height} pixels; at most {pixels / 1e6:g} million (MAX_IMAGE_PIXELS) are accepted"
        )
    if min(image.size) < 1:
        raise CorruptFile("the image has no pixels")


def _inspect_image(data: bytes | mmap, kind: str, asked: Asked, limits: UploadLimits) -> UploadInfo:
    pages, pixels = 0, 0
    first: tuple[int, int] | None = None
    with open_image(data, kind) as image:
        for pages in frames(image, kind):
            first = first or image.size
            check_area(image, limits.max_image_pixels)
            if not asked.pages and pages > limits.max_pages:
                raise TooManyPages(f"more than {limits.max_pages} pages (MAX_PAGES)")
            pixels += image.width * image.height
            if pixels <= max(CHECKED_PIXELS, limits.max_image_pixels):
                image.load()
        moves = kind != TIFF and getattr(image, "is_animated", False)
    if pages == 1:
        _check_picture_bytes(data, limits)
    chosen = _chosen(pages, asked, limits)
    width, height = first or (None, None)
    note = _joined(chosen.note, ONE_OF_MANY if moves else None)
    return UploadInfo(kind, pages, chosen.numbers, width, height, note)


def inspect_blob(path: str, asked: Asked, limits: UploadLimits) -> UploadInfo:
    """``inspect`` in a helper process, of a ``Blob``'s bytes."""
    return inspect(mapped(path), asked, limits)
