import pytest
from PIL import Image

from deepseek_ocr.modes import GUNDAM, MODES
from deepseek_ocr.tiling import normalised, tiles, whole


def quarters(width, height):
    """A page whose left third is red, the rest blue."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, width // 3, height))
    return image


def test_tiles_go_row_by_row_from_the_left():
    page = quarters(1500, 1000)
    cut = list(tiles(page, GUNDAM, GUNDAM.grid(*page.size)))
    assert [tile.size for tile in cut] == [(640, 640)] * 6
    assert [tile.getpixel((320, 320)) for tile in cut] == [(255, 0, 0), (0, 0, 255), (0, 0, 255)] * 2


def test_the_whole_page_is_padded_in_grey_and_centred():
    view = whole(quarters(1500, 500), GUNDAM)
    assert view.size == (1024, 1024)
    assert view.getpixel((500, 10)) == (127, 127, 127) == view.getpixel((500, 1010))
    assert view.getpixel((10, 512)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_small_modes_stretch_the_page(name):
    view = whole(quarters(1500, 500), MODES[name])
    assert view.size == (MODES[name].base,) * 2
    assert view.getpixel((5, 5)) == (255, 0, 0)


def test_a_small_page_has_no_tiles():
    assert list(tiles(quarters(640, 640), GUNDAM, (1, 1))) == []


def test_pixels_are_normalised_to_minus_one_and_one():
    assert (normalised(0), normalised(255)) == (-1.0, 1.0)
