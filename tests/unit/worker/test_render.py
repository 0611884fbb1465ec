"""Rendering: every kind of picture becomes upright RGB, and a page that cannot be rendered hurts no other."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from shared.blob import Blob, mapped
from shared.errors import CorruptFile, EncryptedPdf, PreprocessingError, RenderTimeout, UnsupportedMedia
from shared.sniff import GIF, HEIC, JPEG, PDF, PNG, TIFF, WEBP
from shared.upload_check import tiff_pages
from tests.hostile.make import pages_of_one, pdf, pdf_of, stroke_pdf
from tests.open_files import open_files
from tests.samples import HEIC_PICTURE, LOCKED_PDF
from tests.settings import Settings
from worker.pdf_page import Sheet, scale
from worker.pictures import Size, picture
from worker.render import Renderer

SIZE = Size(dpi=144, side=4000, pixels=48_000_000, image_pixels=200_000_000)
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
    read = picture(saved(image, "PNG"), PNG, SIZE)
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(100, 100, 100), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    assert picture(saved(image, "PNG"), PNG, SIZE).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 1), 1)
    read = picture(saved(image, "PNG", transparency=0), PNG, SIZE)
    assert (read.getpixel((0, 0)), read.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))


def test_light_and_dark_writing_on_transparency_can_both_be_seen() -> None:
    image = Image.new("RGBA", (30, 10))
    image.paste((255, 255, 255, 255), (2, 2, 8, 8))
    image.paste((0, 0, 0, 255), (22, 2, 28, 8))
    read = picture(saved(image, "PNG"), PNG, SIZE).convert("L")
    paper = read.getpixel((15, 5))
    assert [abs(read.getpixel((x, 5)) - paper) > 60 for x in (4, 25)] == [True, True]  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "media"), [("PNG", PNG), ("TIFF", TIFF)])
def test_a_fourth_channel_left_empty_hides_nothing(kind: str, media: str) -> None:
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    image.putpixel((1, 1), (200, 0, 0, 0))
    assert picture(saved(image, kind), media, SIZE).getpixel((1, 1)) == (200, 0, 0)


def test_sixteen_bits_that_hold_ten_are_not_black() -> None:
    image = Image.new("I;16", (2, 1))
    image.putpixel((1, 0), 1023)
    assert picture(saved(image, "TIFF"), TIFF, SIZE).convert("L").tobytes() == b"\0\xff"


def test_levels_below_nought_are_not_black() -> None:
    image = Image.new("F", (3, 1))
    for x, level in enumerate((-5.0, -4.5, -4.0)):
        image.putpixel((x, 0), level)
    assert [*picture(saved(image, "TIFF"), TIFF, SIZE).convert("L").tobytes()] == [0, 127, 255]


def tiff(samples: bytes, kind: int, bits: int, photometric: int = 1) -> bytes:
    """One row of three grey pixels, uncompressed. ``kind``: 1 unsigned, 2 signed, 3 real numbers."""
    shorts = {256: 3, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1, 339: kind}
    longs = {273: 8, 279: len(samples)}
    fields = sorted(
        [(tag, 3, value) for tag, value in shorts.items()] + [(tag, 4, value) for tag, value in longs.items()]
    )
    directory = b"".join(struct.pack("<HHII", tag, size, 1, value) for tag, size, value in fields)
    head = b"II*\0" + struct.pack("<I", 8 + len(samples))
    return head + samples + struct.pack("<H", len(fields)) + directory + bytes(4)


@pytest.mark.parametrize(
    ("data", "levels"),
    [
        (tiff(struct.pack("<3b", -128, 0, 127), 2, 8), [0, 128, 255]),
        (tiff(struct.pack("<3h", -32768, 0, 32767), 2, 16), [0, 127, 255]),
        (tiff(struct.pack("<3h", 0, 16384, 32767), 2, 16), [0, 127, 255]),
        (tiff(struct.pack("<3H", 65535, 32768, 0), 1, 16, photometric=0), [0, 128, 255]),
        (tiff(struct.pack("<3I", 0, 2**31, 2**32 - 1), 1, 32), [0, 127, 255]),
        (tiff(struct.pack("<3I", 0, 128, 255), 1, 32), [0, 128, 255]),
        (tiff(struct.pack("<3f", 0.0, 0.005, 0.01), 3, 32), [0, 127, 255]),
        (tiff(struct.pack("<3f", 0.0, math.nan, 1.0), 3, 32), [0, 255, 255]),
        (tiff(struct.pack("<3f", 1.0, 0.5, 0.0), 3, 32, photometric=0), [0, 128, 255]),
    ],
    ids=[
        "signed bytes", "signed 16 bits", "signed, none below 0", "16 bits, white is 0", "32 bits", "32 bits, 8 used",
        "little light", "no number", "real, white is 0",
    ],
)  # fmt: skip
def test_a_tiffs_levels_mean_what_it_says(data: bytes, levels: list[int]) -> None:
    assert [*picture(data, TIFF, SIZE).convert("L").tobytes()] == levels


@pytest.mark.parametrize(("kind", "bits"), [(3, 16), (3, 64), (2, 64)])
def test_a_tiff_whose_pixels_nobody_can_draw_is_refused_with_the_reason(kind: int, bits: int) -> None:
    with pytest.raises(UnsupportedMedia, match="pixels is not read: save it as grey or RGB"):
        picture(tiff(bytes(bits), kind, bits), TIFF, SIZE)


@pytest.mark.parametrize(("kind", "media"), [("GIF", GIF), ("PNG", PNG), ("WEBP", WEBP)])
def test_of_an_animation_the_first_picture_that_shows_anything_is_read(kind: str, media: str) -> None:
    empty, shown = Image.new("L", (40, 40), 255), Image.new("L", (40, 40), 255)
    shown.paste(0, (10, 10, 20, 20))
    data = saved(empty, kind, save_all=True, append_images=[shown], **({"lossless": True} if kind == "WEBP" else {}))
    assert picture(data, media, SIZE).getpixel((15, 15)) == (0, 0, 0)


@pytest.mark.parametrize(("mode", "kind", "media"), [("CMYK", "JPEG", JPEG), ("1", "TIFF", TIFF), ("L", "WEBP", WEBP)])
def test_other_modes_become_rgb(mode: str, kind: str, media: str) -> None:
    assert picture(saved(Image.new(mode, (8, 8)), kind), media, SIZE).mode == "RGB"


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture(saved(Image.new("RGB", (30, 10)), "JPEG", exif=exif), JPEG, SIZE).size == (10, 30)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((4960, 7016), (2828, 4000)),  # A4 at 600 dpi
        ((8000, 6000), (4000, 3000)),  # a phone of 48 megapixels
        ((1080, 9000), (1080, 9000)),  # a screenshot that was scrolled
        ((3000, 30000), (1600, 16000)),
        ((100, 60), (100, 60)),
    ],
)
def test_pictures_are_reduced_to_what_an_engine_can_use(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    read = picture(saved(Image.new("L", size, 255), "PNG"), PNG, SIZE)
    assert read.size == drawn


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_a_large_picture_is_turned_upright_after_it_was_reduced(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (6000, 4500), "white")
    image.paste("red", (0, 0, 3000, 2250))
    read = picture(saved(image, kind, exif=exif), {"JPEG": JPEG, "TIFF": TIFF, "PNG": PNG}[kind], SIZE)
    assert read.size == (3000, 4000)
    red, white = read.getpixel((2900, 100)), read.getpixel((100, 100))
    assert (red[0] > 250, red[1] < 5, min(white) > 250) == (True, True, True)  # type: ignore[index, arg-type]


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGBA", "CMYK"])
def test_large_pictures_of_any_mode_are_reduced(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = Image.new(mode, (5000, 4500), "white" if mode not in ("I;16", "P") else 0)
    read = picture(saved(image, kind), {"PNG": PNG, "TIFF": TIFF}[kind], SIZE)
    assert (read.mode, read.size) == ("RGB", (4000, 3600))


@pytest.mark.parametrize(("ink", "paper"), [("white", 0), ("#ffe0a0", 0), ("black", 255), ("#c00000", 255)])
def test_light_writing_on_nothing_lies_on_black_and_dark_on_white(ink: str, paper: int) -> None:
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    image.paste(ink, (20, 10, 30, 20))
    read = picture(saved(image, "PNG"), PNG, SIZE)
    assert read.getpixel((0, 0)) == (paper,) * 3


def test_a_heic_picture_is_upright_rgb() -> None:
    read = picture(HEIC_PICTURE, HEIC, SIZE)
    assert (read.size, read.mode) == ((64, 48), "RGB")
    assert read.getpixel((16, 20))[0] > 200 > 100 > read.getpixel((16, 20))[1]  # type: ignore[index]


A4 = (595.0, 842.0)


@pytest.mark.parametrize(
    ("sheet", "per_point"),
    [
        (Sheet(*A4), 2.0),
        (Sheet(*A4, letters=12), 2.0),
        (Sheet(*A4, letters=5), 2.8),  # small print
        (Sheet(*A4, picture=200 / 72), 200 / 72),
        (Sheet(*A4, picture=1200 / 72), 2600 / 842),
        (Sheet(842, 1191, picture=300 / 72), 220 / 72),
        (Sheet(60, 78, picture=21.25), 21.25),  # a scan of a whole page on a stamp
        (Sheet(76.5, 99, letters=1.5), 1000 / 99),  # measured in units of eight points
        (Sheet(612, 9700, letters=12), 2.0),  # a web page saved as one
        (Sheet(2384, 3370, letters=9), 2.0),  # A0
        (Sheet(4000, 3000, picture=1.0), 1.0),  # a photo whose pixels were taken for points
        (Sheet(8400, 8400, picture=300 / 72), math.sqrt(48e6) / 8400),
    ],
)
def test_a_page_is_drawn_by_what_is_on_it(sheet: Sheet, per_point: float) -> None:
    assert scale(sheet, SIZE) == pytest.approx(per_point)


@pytest.mark.parametrize("box", [(1e6, 1e6), (8400, 8400), (1e6, 1), (0.001, 1e5), (14400, 14400)])
def test_whatever_its_box_a_page_is_bounded(box: tuple[float, float]) -> None:
    drawn = scale(Sheet(*box), SIZE)
    assert box[0] * box[1] * drawn**2 <= 48_000_001
    assert max(box) * drawn <= 32_001


@pytest.mark.parametrize(
    "box",
    [
        "0 0 612 792] /CropBox [900 900 950 950",
        "0 0 612 792] /CropBox [9 9 9 9",
        "0 0 0 0",
        "5 5 5 5] /CropBox [0 0 0 0",
    ],
)
async def test_a_page_whose_box_is_empty_or_off_the_sheet_is_drawn_by_the_next_better_one(
    renderer: Renderer, box: str
) -> None:
    upload = await renderer.open(pdf(["BT /F 24 Tf 50 700 Td (Hello) Tj ET"], fonts=True, box=box), PDF)
    page = await renderer.page(upload, 1)
    assert page.image.size == (1224, 1584)
    assert page.image.getextrema()[0] == (0, 255)
    upload.close()


async def test_the_values_of_a_form_are_drawn(renderer: Renderer) -> None:
    with closing(await renderer.open(form(), PDF)) as upload:
        page = await renderer.page(upload, 1, text_layer=True)
    assert min(page.image.crop((100, 100, 500, 300)).convert("L").tobytes()) < 100
    assert page.text_layer is not None
    assert "Maria" in " ".join(piece.text for piece in page.text_layer)


async def test_a_form_that_a_program_in_the_file_draws_says_so(renderer: Renderer) -> None:
    xfa = "<< /Type /Catalog /Pages 2 0 R /NeedsRendering true /AcroForm << /Fields [] /XFA (x) >> >>"
    upload = await renderer.open(pdf_of([xfa, *pages_of_one()[1:]]), PDF)
    page = await renderer.page(upload, 1)
    assert page.shortfall is not None
    assert (page.shortfall.reason, page.shortfall.missing) == ("xfa-form", 1.0)
    upload.close()


async def test_a_locked_pdf_is_drawn_with_its_password(renderer: Renderer) -> None:
    with closing(await renderer.open(LOCKED_PDF, PDF, "open sesame")) as upload:
        assert (await renderer.page(upload, 1)).image.size == (1000, 500)
        assert "sesame" not in repr(upload)


async def test_any_fault_of_the_child_is_the_pages(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await renderer.open(pdf([""]), PDF)
    monkeypatch.setattr("worker.render.render", int)  # fails in the child with a TypeError
    with pytest.raises(PreprocessingError) as failure:
        await renderer.page(upload, 1)
    assert failure.value.code == "render-failed"
    upload.close()


def form() -> bytes:
    """A page with one filled field and no appearance for it."""
    return pdf_of(
        [
            "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] /DA (/F 12 Tf 0 g) /NeedAppearances true"
            " /DR << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >> >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Annots [4 0 R] >>",
            "<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Maria Lindqvist) /Rect [72 700 250 720] /P 3 0 R"
            " /F 4 /DA (/F 12 Tf 0 g) >>",
        ]
    )


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
    assert (upload.pages, upload.frames) == (3, ())
    for number, colour in ((3, (0, 0, 255)), (2, (0, 128, 0)), (1, (255, 0, 0))):
        assert (await renderer.page(upload, number)).image.getpixel((0, 0)) == colour
        assert len(upload.frames) == 3
    upload.close()


@pytest.mark.parametrize(("mode", "big"), [("L", False), ("L", True), ("I;16B", False)])
async def test_pages_of_a_tiff_of_each_kind_of_header_are_opened_where_they_begin(mode: str, big: bool) -> None:
    images = [Image.new(mode, (8 + number, 8)) for number in range(5)]
    data = saved(images[0], "TIFF", save_all=True, append_images=images[1:], big_tiff=big)
    frames = tiff_pages(data)
    parsed = []
    for number, frame in enumerate(frames):
        load = ImageFileDirectory_v2.load
        with patch.object(ImageFileDirectory_v2, "load", autospec=True, side_effect=load) as directory:
            assert picture(data, TIFF, SIZE, frame).width == 8 + number
        parsed.append(directory.call_count)
    assert len(frames) == 5
    assert len(set(parsed)) == 1, "directories parsed for each page"


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_page_of_a_long_tiff_is_read_without_a_copy_of_the_file(compression: str) -> None:
    images = [Image.effect_noise((900, 900), 90) for _ in range(12)]
    data = saved(images[0], "TIFF", save_all=True, append_images=images[1:], compression=compression)
    frames = tiff_pages(data)
    with Blob(data) as blob:
        for image, frame in zip(images, frames, strict=True):
            file = mapped(blob.path)
            tracemalloc.start()
            found = picture(file, TIFF, SIZE, frame)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert found.convert("L").tobytes() == image.tobytes()
            assert most < len(data) / 3
        assert blob.map()[:] == data, "the header of the upload itself is as it was"


async def test_a_page_that_an_upload_does_not_have_fails(renderer: Renderer) -> None:
    for data, kind in ((saved(Image.new("L", (8, 8)), "TIFF"), TIFF), (saved(Image.new("L", (8, 8)), "PNG"), PNG)):
        with closing(await renderer.open(data, kind)) as upload, pytest.raises(PreprocessingError, match="no page 2"):
            await renderer.page(upload, 2)


async def test_a_pdf_page_is_rendered_at_the_set_resolution_with_its_text(renderer: Renderer) -> None:
    upload = await renderer.open(pdf(["BT /F 24 Tf 50 700 Td (Hello) Tj ET"], fonts=True), PDF)
    page = await renderer.page(upload, 1, text_layer=True)
    assert (page.image.size, page.image.mode) == ((1224, 1584), "RGB")
    (piece,) = page.text_layer or ()
    assert piece.text == "Hello"
    assert [round(side) for side in piece.box] == pytest.approx([104, 140, 209, 193], abs=6)
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
    return sum("memfd:upload" in name for _, name in open_files())


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
    page = await renderer.page(upload, 1)
    assert page.image.width * page.image.height <= 48_100_000
    assert page.shortfall is not None
    assert page.shortfall.reason == "too-small"
    upload.close()


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(("name", "error"), [("invalid.pdf", CorruptFile), ("graph-encrypted.pdf", EncryptedPdf)])
async def test_refused_documents_of_the_corpus(renderer: Renderer, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await renderer.open((CORPUS / name).read_bytes(), PDF)
