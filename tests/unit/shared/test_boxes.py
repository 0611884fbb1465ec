"""Pictures with boxes: seen where the blocks are, nowhere else, and no box can break them."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from shared.boxes import colour, draw, page_picture
from shared.contract.document import PageBlock, PageResult, PageStatus


def page(*boxes: tuple[int, int, int, int]) -> PageResult:
    blocks = tuple(PageBlock(type="text", bbox=box, text="") for box in boxes)
    return PageResult(number=1, status=PageStatus.OK, width=200, height=300, blocks=blocks)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data), formats=["WEBP"]).convert("RGB")


def test_a_block_is_drawn_at_its_place() -> None:
    drawn = opened(draw(page_picture(Image.new("RGB", (200, 300), "white"), 70), page((50, 100, 150, 200))))
    assert drawn.size == (200, 300)
    assert min(drawn.getpixel((100, 199))) < 120  # type: ignore[arg-type]
    assert min(drawn.getpixel((20, 20))) > 240  # type: ignore[arg-type]


def test_boxes_outside_or_turned_around_are_no_error() -> None:
    picture = page_picture(Image.new("RGB", (200, 300), "white"), 70)
    assert opened(draw(picture, page((500, 500, 9000, 9000), (90, 90, 10, 10), (0, 0, 0, 0)))).size == (200, 300)


def test_unknown_types_have_a_colour_of_their_own() -> None:
    assert colour("stamp") == colour("stamp")
    assert colour("title") != colour("text")
