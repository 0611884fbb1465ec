import random

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tools.valkey import CORPUS
from worker.engines.blank import is_blank, is_blank_to_the_eye

A4 = (1191, 1684)
Colour = tuple[int, int, int]


def paper(colour: Colour = (255, 255, 255)) -> Image.Image:
    return Image.new("RGB", A4, colour)


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    return ImageChops.add(image, Image.effect_noise(image.size, sigma).convert("RGB"), offset=-128)


def printed(words: str, ink: Colour, size: int = 24, on: Colour = (255, 255, 255)) -> Image.Image:
    image = paper(on)
    ImageDraw.Draw(image).text((600, 1500), words, fill=ink, font_size=size)
    return image


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (244, 240, 226), (180, 200, 255)])
def test_paper_of_one_colour_is_blank(colour: Colour) -> None:
    assert is_blank(paper(colour))


def test_paper_with_a_scanners_noise_is_blank() -> None:
    assert is_blank(noisy(paper((235, 235, 235)), 3))


def test_paper_with_a_shadow_across_it_is_blank() -> None:
    shade = Image.linear_gradient("L").resize(A4).point(lambda level: 160 + level // 3)
    assert is_blank(shade.convert("RGB"))


def test_a_few_specks_of_dust_are_blank() -> None:
    image, rng = paper(), random.Random(1)
    for _ in range(3):
        image.putpixel((rng.randrange(1191), rng.randrange(1684)), (0, 0, 0))
    assert is_blank(image)


@pytest.mark.parametrize("ink", [(0, 0, 0), (200, 200, 200), (230, 230, 230)])
def test_a_page_with_one_word_is_not_blank(ink: Colour) -> None:
    assert not is_blank(printed("intentionally", ink))


def test_a_page_number_alone_is_not_blank() -> None:
    assert not is_blank(printed("7", (0, 0, 0), size=20))


@pytest.mark.parametrize("ink", [(249, 249, 249), (255, 255, 246)])
def test_print_that_nobody_sees_without_more_contrast_is_not_blank(ink: Colour) -> None:
    assert not is_blank(printed("intentionally", ink))
    assert is_blank_to_the_eye(printed("intentionally", ink))


def test_faint_print_on_noisy_paper_is_not_blank() -> None:
    image = noisy(printed("a receipt that has faded over the years", (215, 215, 215), on=(240, 240, 240)), 4)
    assert not is_blank(image.filter(ImageFilter.GaussianBlur(0.7)))


def test_white_print_on_black_is_not_blank() -> None:
    assert not is_blank(printed("night", (255, 255, 255), on=(0, 0, 0)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 5000)])
def test_the_smallest_pictures_are_told(size: tuple[int, int]) -> None:
    assert is_blank(Image.new("RGB", size, "white"))


def test_a_small_picture_with_a_letter_is_not_blank() -> None:
    image = Image.new("RGB", (40, 40), "white")
    ImageDraw.Draw(image).text((10, 10), "A", fill="black", font_size=20)
    assert not is_blank(image)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["linn.png", "typewriter.png", "borderless.jpg"])
def test_real_pages_are_not_blank(name: str) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not beside this checkout")
    assert not is_blank(Image.open(CORPUS / name).convert("RGB"))


def test_print_that_is_as_light_as_its_paper_is_not_blank() -> None:
    assert not is_blank(printed("The keeper trimmed the lamp", (200, 0, 0), on=(0, 102, 0)))
