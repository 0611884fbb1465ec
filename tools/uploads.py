"""Uploads made here, and submitting them past the gateway: for tests of the worker alone."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable
from typing import Any

from PIL import Image, ImageDraw

from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.store.jobs import Store


def picture(seed: int, width: int = 200, height: int = 120) -> Image.Image:
    """A small picture that no other seed gives."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for bit in range(24):
        if seed >> bit & 1:
            draw.rectangle((bit * 8, 10, bit * 8 + 5, 60), fill="black")
    draw.text((10, 80), f"seed {seed}", fill="black")
    return image


def poisoned(image: Image.Image) -> Image.Image:
    """The page that the engines of ``tests/engines/fixtures`` fail on."""
    image.putpixel((0, 0), (255, 0, 0))
    return image


def png(seed: int, **more: Any) -> bytes:
    buffer = io.BytesIO()
    picture(seed, **more).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(seeds: Iterable[int], poison: Collection[int] = ()) -> bytes:
    """A document of one page per seed, whose pages reach the engine pixel by pixel as ``picture`` made them."""
    buffer = io.BytesIO()
    first, *rest = [poisoned(picture(seed)) if seed in poison else picture(seed) for seed in seeds]
    first.save(buffer, "TIFF", save_all=True, append_images=rest, compression="tiff_lzw")
    return buffer.getvalue()


async def submit(store: Store, data: bytes, media_type: str, pages: int = 1, **more: Any) -> str:
    upload = Input(
        filename="upload",
        media_type=media_type,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        pages=pages,
        page_range=f"1-{pages}" if pages > 1 else "1",
    )
    new = NewJob(input=upload, pages=pages, **{"options": Options(), **more})
    return (await store.submit(new, data, upload.sha256)).job_id
