"""How large a PDF page is drawn, whatever an operator has allowed."""

from __future__ import annotations

import pytest

from worker.pdf_page import Sheet, scale
from worker.pictures import Size

PIXELS = 16_000_000
GENEROUS = Size(dpi=600, side=200_000, pixels=PIXELS, image_pixels=PIXELS)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (612, 792), (100_000, 50), (3000, 9000)])
def test_a_page_never_has_more_pixels_than_the_cap_however_large_a_side_may_be(width: float, height: float) -> None:
    factor = scale(Sheet(width, height), GENEROUS)
    assert width * height * factor**2 <= PIXELS * 1.0001


def test_the_cap_on_the_area_is_reached_and_not_undercut() -> None:
    assert (612 * scale(Sheet(612, 612), GENEROUS)) ** 2 == pytest.approx(PIXELS)
