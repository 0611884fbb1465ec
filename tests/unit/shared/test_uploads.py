"""Uploads: what is accepted, what is refused and by which rule, decided in a helper process or here alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from gateway.inspector import Inspector
from shared.errors import BadPageRange, CorruptFile, EncryptedPdf, FileEmpty, FileTooLarge, ImageTooLarge, TooManyPages
from shared.errors import UnsupportedMedia as Unsupported
from shared.sniff import AVIF, BMP, GIF, HEIC, JP2, JPEG, PDF, PNG, TIFF, WEBP, allowed_types, media_type
from shared.upload_check import Asked, UploadInfo, UploadLimits, inspect
from tests.hostile.make import pages_of_one, pdf, pdf_of, picture, tiff
from tests.samples import HEIC_PICTURE, LOCKED_PDF
from tests.settings import Settings

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"
LIMITS = UploadLimits.of(Settings(_env_file=None))
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this checkout")


@pytest.mark.parametrize(("kind", "media"), [("JPEG", JPEG), ("PNG", PNG), ("WEBP", WEBP), ("TIFF", TIFF)])
def test_a_picture_is_known_by_its_content(kind: str, media: str) -> None:
    assert check(picture(kind), LIMITS) == UploadInfo(media, 1, (1,), 64, 48)


def check(data: bytes, limits: UploadLimits) -> UploadInfo:
    return inspect(data, Asked(), limits)


def test_a_pdf_is_counted() -> None:
    assert check(pdf(["", "", ""]), LIMITS) == UploadInfo(PDF, 3, (1, 2, 3))


def test_an_animation_is_one_page() -> None:
    stills = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    out = BytesIO()
    stills[0].save(out, "WEBP", save_all=True, append_images=stills[1:])
    assert check(out.getvalue(), LIMITS).pages == 1


def test_empty() -> None:
    with pytest.raises(FileEmpty):
        check(b"", LIMITS)


def test_a_type_the_settings_leave_out() -> None:
    with pytest.raises(Unsupported):
        check(picture("PNG"), replace(LIMITS, types=allowed_types(("jpg",))))


def test_an_extension_nothing_here_reads_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="docx"):
        allowed_types(("pdf", "docx"))


def test_sizes_of_pictures_and_documents_have_their_own_limits() -> None:
    small = replace(LIMITS, max_file_size=100)
    for kind in ("PNG", "TIFF"):
        with pytest.raises(FileTooLarge):
            check(picture(kind), small)
    assert check(tiff([(4, 2), (4, 2)]), small).pages == 2
    assert check(pdf([""]), small).pages == 1
    with pytest.raises(FileTooLarge):
        check(pdf([""]), replace(LIMITS, max_pdf_size=100))


@pytest.mark.parametrize("data", [pdf([""] * 4), tiff([(4, 2)] * 4)])
def test_too_many_pages(data: bytes) -> None:
    assert check(data, replace(LIMITS, max_pages=4)).pages == 4
    with pytest.raises(TooManyPages):
        check(data, replace(LIMITS, max_pages=3))


def test_the_largest_area_is_accepted_whatever_its_shape_and_one_more_pixel_is_not() -> None:
    limits = replace(LIMITS, max_image_pixels=60)
    for size in ((30, 2), (2, 30), (60, 1), (7, 8)):
        assert check(picture("PNG", size), limits).width == size[0]
    with pytest.raises(ImageTooLarge, match="MAX_IMAGE_PIXELS"):
        check(picture("PNG", (61, 1)), limits)


def test_a_picture_that_is_too_large_is_told_which_limit_is_its_own() -> None:
    with pytest.raises(FileTooLarge, match="MAX_FILE_SIZE"):
        check(picture("PNG"), replace(LIMITS, max_file_size=100))


@pytest.mark.parametrize("data", [pdf([""] * 9), tiff([(4, 2)] * 9)])
def test_the_limit_counts_the_pages_that_are_asked_for(data: bytes) -> None:
    limits = replace(LIMITS, max_pages=4)
    info = inspect(data, Asked(pages="2-4,9"), limits)
    assert (info.pages, info.numbers) == (9, (2, 3, 4, 9))
    with pytest.raises(TooManyPages):
        inspect(data, Asked(pages="1-5"), limits)
    with pytest.raises(BadPageRange):
        inspect(data, Asked(pages="10"), limits)


def frames_of(*frames: tuple[int, int]) -> bytes:
    """A TIFF with frames of a NewSubfileType and a width."""
    out = BytesIO()
    stills = [Image.new("L", (width, 8)) for _, width in frames]
    for still, (kind, _) in zip(stills, frames, strict=True):
        still.encoderinfo = {"tiffinfo": {254: kind}}
    stills[0].save(out, "TIFF", save_all=True, append_images=stills[1:], tiffinfo={254: frames[0][0]})
    return out.getvalue()


@pytest.mark.parametrize(
    ("frames", "pages", "width"),
    [
        (((1, 10), (0, 40)), 1, 40),
        (((0, 40), (1, 10)), 1, 40),
        (((0, 40), (4, 40), (0, 40)), 2, 40),
        (((2, 40), (2, 40)), 2, 40),
        (((1, 10), (4, 10)), 1, 10),
    ],
)
def test_previews_and_masks_of_a_tiff_are_no_pages(frames: tuple[tuple[int, int]], pages: int, width: int) -> None:
    info = check(frames_of(*frames), LIMITS)
    assert (info.pages, info.width) == (pages, width)


@pytest.mark.parametrize("kinds", [(1, 1), (0, 1)])
def test_what_a_tiff_calls_a_copy_is_a_page_if_it_is_no_smaller(kinds: tuple[int, int]) -> None:
    assert check(frames_of(*((kind, 40) for kind in kinds), (1, 10)), LIMITS).pages == 2


def test_what_is_left_out_of_a_file_is_said() -> None:
    out, stills = BytesIO(), [Image.new("L", (9, 9), shade) for shade in (0, 255)]
    stills[0].save(out, "GIF", save_all=True, append_images=stills[1:])
    assert "one is read" in (check(out.getvalue(), LIMITS).note or "")
    names = "/Names << /EmbeddedFiles << /Names [(a.txt) << /Type /Filespec /F (a.txt) >>] >> >>"
    catalogue = f"<< /Type /Catalog /Pages 2 0 R {names} >>"
    info = inspect(pdf_of([catalogue, *pages_of_one()[1:]]), Asked(pages="1-9"), LIMITS)
    assert (info.note or "").endswith("; 1 attached file is not read")


@pytest.mark.parametrize(
    ("kind", "media"), [("GIF", GIF), ("BMP", BMP), ("AVIF", AVIF), ("JPEG2000", JP2), ("HEIF", HEIC)]
)
def test_further_kinds_of_pictures_are_read(kind: str, media: str) -> None:
    data = HEIC_PICTURE if media == HEIC else picture(kind)
    assert check(data, LIMITS).media_type == media


def test_without_its_decoder_a_heic_picture_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.upload_check.can_read", lambda kind: kind != HEIC)
    with pytest.raises(Unsupported, match="export it as JPEG"):
        check(HEIC_PICTURE, LIMITS)


@pytest.mark.parametrize(("password", "opens"), [("open sesame", True), ("wrong", False), (None, False)])
def test_a_pdf_is_opened_with_its_password(password: str | None, opens: bool) -> None:
    asked = Asked(password=password)
    if opens:
        assert inspect(LOCKED_PDF, asked, LIMITS).pages == 1
        return
    with pytest.raises(EncryptedPdf) as refused:
        inspect(LOCKED_PDF, asked, LIMITS)
    assert "password" in refused.value.detail
    assert "wrong" not in refused.value.detail


def test_a_password_is_in_no_text_of_what_was_asked() -> None:
    assert "sesame" not in repr(Asked(password="open sesame"))


def test_a_picture_cut_short_is_refused_though_its_header_is_whole() -> None:
    whole = picture("JPEG", (300, 300))
    with pytest.raises(CorruptFile):
        check(whole[: len(whole) // 2], LIMITS)


@needs_corpus
@pytest.mark.corpus
async def test_the_corpus_through_a_helper() -> None:
    inspector = Inspector(Settings(_env_file=None))
    pages = {"fhs-3.0.pdf": 50, "linn.png": 1, "borderless.jpg": 1, "cardinal.pdf": 4, "hugemono.pdf": 1}
    for name, count in pages.items():
        assert (await inspector.inspect((CORPUS / name).read_bytes(), Asked(name))).pages == count
    for name, error in {"invalid.pdf": CorruptFile, "graph-encrypted.pdf": EncryptedPdf}.items():
        with pytest.raises(error):
            await inspector.inspect((CORPUS / name).read_bytes(), Asked(name))
    await inspector.close()


async def test_an_upload_that_takes_long_holds_up_no_other() -> None:
    inspector = Inspector(Settings(_env_file=None))
    before = set(psutil.Process().children())
    await inspector.inspect(picture("PNG", (4, 4)), Asked("a.png"))
    child = next(new for new in set(psutil.Process().children()) - before if "sandbox_child" in " ".join(new.cmdline()))
    child.suspend()
    held = asyncio.create_task(inspector.inspect(picture("PNG", (5, 5)), Asked("b.png")))
    await asyncio.sleep(0)
    assert (await inspector.inspect(picture("PNG", (6, 6)), Asked("c.png"))).width == 6
    assert not held.done()
    child.resume()
    assert (await held).width == 5
    await inspector.close()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x89PNG",
        b"RIFF....WAVE",
        b"BM are two letters",
        b"\0\0\0\x18ftypmp42",
        b"%!PS",
        b"\x00" * 2000 + b"%PDF-",
    ],
)
def test_nothing_else_is_known(head: bytes) -> None:
    assert media_type(head) is None
