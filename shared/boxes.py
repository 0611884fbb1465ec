"""Pictures of pages: kept beside the result, and with the blocks drawn on. Call ``draw`` in a helper process."""

from __future__ import annotations

import zlib
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from shared.contract.document import PageResult

_COLOURS = {
    "title": "#c62828",
    "sub_title": "#ad1457",
    "text": "#1565c0",
    "list": "#00838f",
    "table": "#2e7d32",
    "image": "#ef6c00",
    "equation": "#6a1b9a",
    "header": "#616161",
    "footer": "#616161",
    "page_number": "#616161",
}
_OTHERS = ("#4527a0", "#00695c", "#9e9d24", "#5d4037", "#37474f")
WEBP_MAX_SIDE = 16383
QUALITY = 80


def draw(image: bytes, page: PageResult) -> bytes:
    """A page's picture (bytes of any kind we keep) with its blocks: WebP bytes. Boxes outside it are cut."""
    with Image.open(BytesIO(image), formats=["WEBP", "JPEG", "PNG"]) as opened:
        picture = opened.convert("RGB")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(12, picture.height // 100))
    across, down = picture.width / (page.width or picture.width), picture.height / (page.height or picture.height)
    for number, block in enumerate(page.blocks, 1):
        x1, y1, x2, y2 = block.bbox
        box = (x1 * across, y1 * down, x2 * across, y2 * down)
        if box[0] < box[2] and box[1] < box[3]:
            _block(pen, font, box, f"{number} {block.type[:30]}", colour(block.type))
    return page_picture(picture, QUALITY)


def colour(kind: str) -> str:
    """Of a block type; one nobody has named gets one of its own, always the same."""
    return _COLOURS.get(kind) or _OTHERS[zlib.crc32(kind.encode()) % len(_OTHERS)]


def _block(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    box: tuple[float, float, float, float],
    label: str,
    ink: str,
) -> None:
    pen.rectangle(box, outline=ink, width=3)
    # Above the box, so that the block's first word can be read; inside it at the top of the page.
    height = pen.textbbox((0, 0), label, font=font)[3] + 4
    place = (box[0], box[1] - height if box[1] >= height else box[1])
    left, top, right, bottom = pen.textbbox(place, label, font=font)
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=ink)
    pen.text(place, label, fill="white", font=font)


def shrink(image: bytes, width: int) -> bytes:
    """A page's picture (bytes of any kind we keep) ``width`` pixels wide, never wider than it is: WebP bytes."""
    with Image.open(BytesIO(image), formats=["WEBP", "JPEG", "PNG"]) as opened:
        opened.draft("RGB", (width, WEBP_MAX_SIDE))
        picture = opened.convert("RGB")
    picture.thumbnail((width, WEBP_MAX_SIDE))
    return page_picture(picture, QUALITY)


def page_picture(image: Image.Image, quality: int) -> bytes:
    """WebP bytes; ``quality`` 1-95. Method 2 takes half the time of the default for some per cent of size."""
    buffer = BytesIO()
    kept = image
    if max(image.size) > WEBP_MAX_SIDE:
        kept = image.copy()
        kept.thumbnail((WEBP_MAX_SIDE, WEBP_MAX_SIDE))
    kept.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()
