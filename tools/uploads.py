"""Uploads made here, and submitting them past the gateway: for tests of the worker alone."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable
from typing import Any

from PIL import Image, ImageDraw

from shared.boxes import page_picture
from shared.contract.document import PageBlock, PageResult, PageStatus
from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.settings import StoreSettings
from shared.store.connect import connect
from shared.store.jobs import Store
from worker.claims import Claims
from worker.settings import WorkerSettings


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


async def written_book(url: str, pages: int) -> str:
    """A job of so many pages in the store at ``url``, written as a worker would that has read them; its id."""
    redis = connect(url, patient=True)
    settings = WorkerSettings(_env_file=None)
    store, claims = Store(redis, StoreSettings(_env_file=None)), Claims(redis, settings, "writer")
    job_id = await submit(store, tiff([1]), "image/tiff", pages)
    claim = await claims.claim(job_id, "written")
    assert claim is not None
    await claims.start(claim, "instant")
    image = page_picture(picture(1, 600, 800), settings.page_image_quality)
    for number in range(1, pages + 1):
        await claims.page_start(claim, number)
        texts = (f"# Page {number}", "It was a bright cold day in April, and the clocks were striking thirteen.")
        blocks = tuple(
            PageBlock(type="text", bbox=(40, 90 * i, 560, 90 * i + 70), text=text) for i, text in enumerate(texts)
        )
        page = PageResult(
            number=number, status=PageStatus.OK, width=600, height=800, markdown="\n\n".join(texts), blocks=blocks
        )  # fmt: skip
        await claims.page_end(claim, page, image)
    await claims.finish(claim)
    await redis.aclose()
    return job_id
