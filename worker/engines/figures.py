"""Figures cut out of a page."""

from __future__ import annotations

import io
from collections.abc import Iterable

from PIL.Image import Image

from shared.contract.document import Box
from worker.engines.base import FigureCrop

JPEG_QUALITY = 90


def cut_out(page: Image, figures: Iterable[tuple[str, Box]]) -> tuple[FigureCrop, ...]:
    """Names and boxes (pixels of ``page``) as pictures."""
    return tuple(FigureCrop(name, box, _jpeg(page.crop(box))) for name, box in figures)


def _jpeg(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
