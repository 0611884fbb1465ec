"""Rendering: every kind of picture becomes upright RGB, and a page that cannot be rendered hurts no other."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from shared.errors import CorruptFile, EncryptedPdf, PreprocessingError, RenderTimeout
from shared.sniff import JPEG, PDF, PNG, TIFF, WEBP
from tests.hostile.make import pdf, stroke_pdf
from tests.settings import Settings
from worker.render import Renderer, Size, pages_of, picture, scale

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this checkout")


def settings(**more: Any) -> Settings:
    return Settings(_env_file=None, **more)


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(settings())
    yield renderer
    await renderer.close()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.new("I;16", (2, 1))
    image.putpixel((0, 0), 257 * 100)
    image.putpixel((1, 0), 65535)
    read = picture(saved(image, "PNG"), PNG, 1, 100)
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(100, 100, 100), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    assert picture(saved(image, "PNG"), PNG, 1, 100).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 1), 1)
    read = picture(saved(image, "PNG", transparency=0), PNG, 1, 100)
    assert (read.getpixel((0, 0)), read.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))


@pytest.mark.parametrize(("mode", "kind", "media"), [("CMYK", "JPEG", JPEG), ("1", "TIFF", TIFF), ("L", "WEBP", WEBP)])
def test_other_modes_become_rgb(mode: str, kind: str, media: str) -> None:
    assert picture(saved(Image.new(mode, (8, 8)), kind), media, 1, 100).mode == "RGB"


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture(saved(Image.new("RGB", (30, 10)), "JPEG", exif=exif), JPEG, 1, 100).size == (10, 30)


def test_scale_is_capped_in_side_and_area() -> None:
    size = Size(dpi=144, side=4000, image_side=6400)
    assert scale(612, 792, size) == 2
    assert max(8400 * scale(8400, 8400, size), 1e6 * scale(1e6, 1, size)) <= 4000.001


@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1"])
async def test_every_pixel_comes_through(renderer: Renderer, mode: str, turned: bool) -> None:
    image = Image.effect_noise((101, 57), 90).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    with closing(await renderer.open(saved(image, "PNG", exif=exif), PNG)) as upload:
        page = await renderer.page(upload, 1)
    expected = image.convert("RGB")
    assert page.image.mode == "RGB"
    assert page.image.tobytes() == (expected.transpose(Image.Transpose.ROTATE_270) if turned else expected).tobytes()


async def test_frames_of_a_tiff_are_pages(renderer: Renderer) -> None:
    colours = ["red", "green", "blue"]
    images = [Image.new("RGB", (8, 8), colour) for colour in colours]
    upload = await renderer.open(saved(images[0], "TIFF", save_all=True, append_images=images[1:]), TIFF)
    assert pages_of(upload) == 3
    assert (await renderer.page(upload, 3)).image.getpixel((0, 0)) == (0, 0, 255)
    upload.close()


async def test_a_pdf_page_is_rendered_at_the_set_resolution_with_its_text(renderer: Renderer) -> None:
    upload = await renderer.open(pdf(["BT /F 24 Tf 50 700 Td (Hello) Tj ET"], fonts=True), PDF)
    page = await renderer.page(upload, 1, text_layer=True)
    assert (page.image.size, page.image.mode, page.text_layer) == ((1224, 1584), "RGB", "Hello")
    assert page.image.getextrema()[0] == (0, 255)
    upload.close()


async def test_a_long_pdf_needs_no_more_memory_than_a_short_one() -> None:
    """A page's bitmap is gone when the next one is drawn: 40 of them would be 220 MiB."""
    renderer = Renderer(settings(render_processes=1))
    upload = await renderer.open(pdf([""]), PDF)
    sizes = []
    for _ in range(40):
        (await renderer.page(upload, 1)).image.close()
        sizes.append(max(child.memory_info().rss for child in psutil.Process().children()))
    upload.close()
    await renderer.close()
    assert max(sizes) - sizes[4] < 30 * 2**20


async def test_a_page_the_upload_lacks_is_a_preprocessing_error(renderer: Renderer) -> None:
    upload = await renderer.open(pdf(["", ""]), PDF)
    with pytest.raises(PreprocessingError):
        await renderer.page(upload, 3)
    upload.close()


async def test_a_page_that_renders_for_ever_is_killed_and_the_next_page_works() -> None:
    renderer = Renderer(settings(render_timeout=0.7, render_processes=1))
    upload = await renderer.open(stroke_pdf(400_000), PDF)
    with pytest.raises(RenderTimeout) as failure:
        await renderer.page(upload, 1)
    assert failure.value.code == "render-timeout"
    assert (await renderer.page(upload, 2)).image.size == (1224, 1584)
    upload.close()
    await renderer.close()


def blobs() -> int:
    """How many blobs this process holds open."""
    gc.collect()
    found = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return sum("memfd:upload" in str(fd.readlink()) for fd in found if fd.is_symlink())


async def test_bytes_of_uploads_are_given_back(renderer: Renderer) -> None:
    upload = await renderer.open(pdf([""]), PDF)
    before = blobs()
    for _ in range(3):
        await renderer.page(upload, 1)
    assert blobs() == before
    upload.close()
    assert blobs() == before - 1


@needs_corpus
@pytest.mark.corpus
async def test_a_huge_bitonal_page_is_bounded(renderer: Renderer) -> None:
    upload = await renderer.open((CORPUS / "hugemono.pdf").read_bytes(), PDF)
    assert max((await renderer.page(upload, 1)).image.size) <= 4000
    upload.close()


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(("name", "error"), [("invalid.pdf", CorruptFile), ("graph-encrypted.pdf", EncryptedPdf)])
async def test_refused_documents_of_the_corpus(renderer: Renderer, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await renderer.open((CORPUS / name).read_bytes(), PDF)
