"""Fuzzing the two parsers that strangers' bytes reach: the check of an upload, and the reader of the model's output."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deepseek_ocr.page import PageReader
from deepseek_ocr.tokens import MARKUP
from gateway.formats.html import html
from gateway.inspector import Inspector
from shared.contract.document import DocumentResult, PageBlock, PageResult, PageStatus
from shared.errors import FileValidationError
from shared.sniff import media_type
from shared.upload_check import Asked
from tests.conftest import make_settings
from tests.hostile.make import pdf
from tests.samples import HEIC_PICTURE

FUZZ = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sample(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000")
SAMPLES = [*(sample(kind) for kind in KINDS), HEIC_PICTURE, pdf(["BT (words) Tj ET"])]


@st.composite
def uploads(draw: st.DrawFn) -> bytes:
    """A file of a known type with bytes overwritten, cut out, doubled or put in; sometimes only its first bytes."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(("overwrite", "cut", "double", "insert", "end")))
        junk = draw(st.binary(min_size=1, max_size=8))
        if what == "overwrite":
            data[at : at + len(junk)] = junk
        elif what == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif what == "double":
            data[at:at] = data[at : at + 64]
        elif what == "insert":
            data[at:at] = junk
        else:
            del data[max(at, 16) :]
    return bytes(data)


@pytest.fixture(scope="module")
def check() -> Iterator[tuple[asyncio.AbstractEventLoop, Inspector]]:
    loop = asyncio.new_event_loop()
    inspector = Inspector(make_settings("redis://unused", inspect_timeout=5))
    yield loop, inspector
    loop.run_until_complete(inspector.close())
    loop.close()


@FUZZ
@given(data=st.one_of(uploads(), st.binary(max_size=200)), name=st.text(max_size=40))
def test_any_upload_is_taken_or_refused_for_a_reason(
    check: tuple[asyncio.AbstractEventLoop, Inspector], data: bytes, name: str
) -> None:
    loop, inspector = check
    try:
        info = loop.run_until_complete(inspector.inspect(data, Asked(name)))
    except FileValidationError as error:
        assert error.code
        return
    assert info.media_type == media_type(data[:1024])
    assert 1 <= info.pages <= 2000
    assert (info.width is None) == (info.media_type == "application/pdf")


NUMBERS = st.one_of(st.integers(-(10**20), 10**20).map(str), st.sampled_from(("", "1e9", "nan", "0x1", "१२", "[", "]")))
BOXES = st.lists(st.lists(NUMBERS, max_size=5).map(lambda row: f"[{', '.join(row)}]"), max_size=3).map(
    lambda rows: f"[{', '.join(rows)}]"
)
LABELS = st.sampled_from(("text", "title", "image", "table", "equation", "__class__", "x" * 30))
PIECES = st.one_of(
    st.sampled_from(MARKUP),
    st.tuples(LABELS, BOXES).map(lambda made: f"<|ref|>{made[0]}<|/ref|><|det|>{made[1]}<|/det|>"),
    st.sampled_from((
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "<table><td>",
        "$$\\x$$", "![](http://169.254.169.254/)", "__import__('os').system('id')",
        "<|", "|>", "\x00", "\U0001f600", "```",
    )),
    st.text(max_size=20),
)  # fmt: skip
OUTPUTS = st.lists(PIECES, max_size=30).map("".join)


def read(pieces: list[str]) -> PageReader:
    reader = PageReader(640, 480)
    streamed = "".join(map(reader.feed, pieces)) + reader.finish()
    assert streamed == reader.markdown
    return reader


@FUZZ
@given(output=OUTPUTS, cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_output_is_read_the_same_however_it_is_cut_and_never_beyond_the_page(output: str, cuts: list[int]) -> None:
    places = sorted({0, *(min(cut, len(output)) for cut in cuts), len(output)})
    whole = read([output])
    pieces = read([output[a:b] for a, b in pairwise(places)])
    assert (pieces.markdown, pieces.blocks, pieces.figures) == (whole.markdown, whole.blocks, whole.figures)
    for block in whole.blocks:
        x1, y1, x2, y2 = block.bbox
        assert 0 <= x1 <= x2 <= 640
        assert 0 <= y1 <= y2 <= 480


@FUZZ
@given(output=OUTPUTS)
def test_no_output_puts_a_script_into_the_page_that_people_see(output: str) -> None:
    reader = read([output])
    blocks = tuple(PageBlock(type="text", bbox=block.bbox, text=block.text) for block in reader.blocks)
    page = PageResult(number=1, status=PageStatus.OK, width=640, height=480, markdown=reader.markdown, blocks=blocks)
    made = html(DocumentResult(job_id="01J", engine="e", pages=(page,)), images="images/").lower()
    tags = made.split("<body", 1)[-1].split("<")[1:]
    assert not any(
        tag.startswith(("script", "iframe", "object", "embed", "svg", "link", "base", "form")) for tag in tags
    )
    for tag in tags:
        inside = tag.split(">", 1)[0]
        assert "javascript:" not in inside
        assert " on" not in inside.replace(" on ", "")
        assert "169.254" not in inside
