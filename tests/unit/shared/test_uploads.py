"""The door: what is accepted, what is refused and by which rule, decided in a helper process or here alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from gateway.inspector import Inspector
from shared.errors import CorruptFile, EncryptedPdf, FileEmpty, FileTooLarge, ImageTooLarge, TooManyPages
from shared.errors import UnsupportedMedia as Unsupported
from shared.sniff import JPEG, PDF, PNG, TIFF, WEBP, allowed_types, media_type
from shared.upload_check import UploadInfo, UploadLimits, inspect
from tests.hostile.make import pdf, picture, tiff
from tests.settings import Settings

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"
LIMITS = UploadLimits.of(Settings(_env_file=None))
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this checkout")


@pytest.mark.parametrize(("kind", "media"), [("JPEG", JPEG), ("PNG", PNG), ("WEBP", WEBP), ("TIFF", TIFF)])
def test_a_picture_is_known_by_its_content(kind: str, media: str) -> None:
    assert inspect(picture(kind), "a.pdf", LIMITS) == UploadInfo(media, 1, 64, 48)


def test_a_pdf_is_counted() -> None:
    assert inspect(pdf(["", "", ""]), "a.jpg", LIMITS) == UploadInfo(PDF, 3)


def test_an_animation_is_one_page() -> None:
    stills = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    out = BytesIO()
    stills[0].save(out, "WEBP", save_all=True, append_images=stills[1:])
    assert inspect(out.getvalue(), "", LIMITS).pages == 1


def test_empty() -> None:
    with pytest.raises(FileEmpty):
        inspect(b"", "a.png", LIMITS)


def test_a_type_the_settings_leave_out() -> None:
    with pytest.raises(Unsupported):
        inspect(picture("PNG"), "a.png", replace(LIMITS, types=allowed_types(("jpg",))))


def test_an_extension_nothing_here_reads_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="docx"):
        allowed_types(("pdf", "docx"))


def test_sizes_of_pictures_and_documents_have_their_own_limits() -> None:
    small = replace(LIMITS, max_file_size=100)
    for kind in ("PNG", "TIFF"):
        with pytest.raises(FileTooLarge):
            inspect(picture(kind), "", small)
    assert inspect(tiff([(4, 2), (4, 2)]), "", small).pages == 2
    assert inspect(pdf([""]), "", small).pages == 1
    with pytest.raises(FileTooLarge):
        inspect(pdf([""]), "", replace(LIMITS, max_pdf_size=100))


@pytest.mark.parametrize("data", [pdf([""] * 4), tiff([(4, 2)] * 4)])
def test_too_many_pages(data: bytes) -> None:
    assert inspect(data, "", replace(LIMITS, max_pages=4)).pages == 4
    with pytest.raises(TooManyPages):
        inspect(data, "", replace(LIMITS, max_pages=3))


def test_the_longest_side_is_accepted_and_one_more_pixel_is_not() -> None:
    assert inspect(picture("PNG", (30, 2)), "", replace(LIMITS, max_image_side=30)).width == 30
    with pytest.raises(ImageTooLarge):
        inspect(picture("PNG", (31, 2)), "", replace(LIMITS, max_image_side=30))


def test_a_picture_cut_short_is_refused_though_its_header_is_whole() -> None:
    whole = picture("JPEG", (300, 300))
    with pytest.raises(CorruptFile):
        inspect(whole[: len(whole) // 2], "", LIMITS)


@needs_corpus
@pytest.mark.corpus
async def test_the_corpus_through_a_helper() -> None:
    inspector = Inspector(Settings(_env_file=None))
    pages = {"fhs-3.0.pdf": 50, "linn.png": 1, "borderless.jpg": 1, "cardinal.pdf": 4, "hugemono.pdf": 1}
    for name, count in pages.items():
        assert (await inspector.inspect((CORPUS / name).read_bytes(), name)).pages == count
    for name, error in {"invalid.pdf": CorruptFile, "graph-encrypted.pdf": EncryptedPdf}.items():
        with pytest.raises(error):
            await inspector.inspect((CORPUS / name).read_bytes(), name)
    await inspector.close()


async def test_an_upload_that_takes_long_holds_up_no_other() -> None:
    inspector = Inspector(Settings(_env_file=None))
    before = set(psutil.Process().children())
    await inspector.inspect(picture("PNG", (4, 4)), "a.png")
    child = next(new for new in set(psutil.Process().children()) - before if "spawn_main" in " ".join(new.cmdline()))
    child.suspend()
    held = asyncio.create_task(inspector.inspect(picture("PNG", (5, 5)), "b.png"))
    await asyncio.sleep(0)
    assert (await inspector.inspect(picture("PNG", (6, 6)), "c.png")).width == 6
    assert not held.done()
    child.resume()
    assert (await held).width == 5
    await inspector.close()


@pytest.mark.parametrize("head", [b"", b"\x89PNG", b"RIFF....WAVE", b"GIF89a", b"%!PS", b"\x00" * 2000 + b"%PDF-"])
def test_nothing_else_is_known(head: bytes) -> None:
    assert media_type(head) is None
