"""How large a PDF page is drawn, whatever an operator has allowed."""

from __future__ import annotations

import pytest

from worker.render import MAX_PIXELS, Size, scale


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (612, 792), (100_000, 50), (3000, 9000)])
def test_a_page_never_has_more_pixels_than_the_cap_however_large_a_side_may_be(width: float, height: float) -> None:
    factor = scale(width, height, Size(dpi=600, side=200_000, image_side=6400))
    assert width * height * factor**2 <= MAX_PIXELS * 1.0001


def test_the_cap_on_the_area_is_reached_and_not_undercut() -> None:
    factor = scale(20_000, 20_000, Size(dpi=600, side=20_000, image_side=6400))
    assert (20_000 * factor) ** 2 == pytest.approx(MAX_PIXELS)
