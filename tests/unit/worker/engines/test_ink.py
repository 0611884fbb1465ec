"""The ink of a page against the boxes that were read."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw, ImageFont

from shared.contract.document import Reason
from worker.engines.ink import MISSING, shortfall_of, unread

FONT = ImageFont.load_default(28)
SIZE = (1240, 1754)


def page(lines: int) -> Image.Image:
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    for i in range(lines):
        draw.text((100, 100 + 50 * i), "The quick brown fox jumps over the lazy dog, twice", fill="black", font=FONT)
    return image


def test_a_page_whose_boxes_cover_its_lines_lacks_nothing() -> None:
    assert unread(page(30), [(100, 100, 900, 1600)], has_text=True) == 0
    assert unread(page(30), [(95, 100 + 50 * i, 900, 135 + 50 * i) for i in range(30)], has_text=True) < 0.05


@pytest.mark.parametrize("read", [10, 15])
def test_lines_outside_every_box_are_missing(read: int) -> None:
    missing = unread(page(30), [(100, 100, 900, 95 + 50 * read)], has_text=True)
    assert missing == pytest.approx(1 - read / 30, abs=0.07)
    found = shortfall_of(missing)
    assert found is not None
    assert (found.reason, found.missing) == (Reason.UNREADABLE, missing)


def test_a_running_head_and_a_page_number_may_be_left_out() -> None:
    image = page(30)
    draw = ImageDraw.Draw(image)
    draw.text((100, 30), "Annual report 2025", fill="black", font=FONT)
    draw.text((600, 1690), "17", fill="black", font=FONT)
    assert 0 < unread(image, [(90, 95, 910, 1610)], has_text=True) < MISSING
    assert shortfall_of(unread(image, [(90, 95, 910, 1610)], has_text=True)) is None


def test_ink_without_any_text_is_all_missing_and_paper_is_not() -> None:
    assert unread(page(3), [], has_text=False) == 1
    assert unread(Image.new("RGB", SIZE, "ivory"), [], has_text=False) == 0


def test_without_boxes_nobody_can_say() -> None:
    assert unread(page(30), [], has_text=True) == 0
    assert unread(page(30), [(0, 0, *SIZE)], has_text=True) == 0


def test_a_small_picture_is_taken_too() -> None:
    assert unread(Image.new("RGB", (3, 2), "white"), [(0, 0, 1, 1)], has_text=True) == 0
