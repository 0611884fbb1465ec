"""What a PDF holds and PDFium leaves out: drawn after all where that can be done, else said of the page."""

from __future__ import annotations

from base64 import a85encode
from collections.abc import AsyncIterator
from contextlib import closing
from io import BytesIO
from zlib import compress

import pytest
from PIL import Image, ImageDraw

from shared.sniff import PDF
from tests.conftest import make_settings
from tests.hostile.make import pdf_of
from worker.engines.base import PageImage
from worker.render import Renderer

FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
TEXT_FIELD = "/Type /Annot /Subtype /Widget /FT /Tx /Rect [100 200 380 230] /F 4"
SHOWS_NOTHING = "/AP << /N 7 0 R >>"
SHOWS_OSWALD = "/AP << /N 8 0 R >>"
FREE_TEXT = "/Type /Annot /Subtype /FreeText /Rect [60 100 200 160] /F 4 /DA (/F 12 Tf 0 g)"
LONG = "Approved on the ninth of May, with the condition that the mast be painted before winter comes"
LABEL = "BT /F 12 Tf 30 250 Td (Keeper of the light) Tj ET"


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(make_settings("redis://unused", render_processes=1))
    yield renderer
    await renderer.close()


def stream(head: str, body: str) -> str:
    return f"<< {head} /Length {len(body)} >>\nstream\n{body}\nendstream"


def page_with(
    *, note: str = "", content: str = LABEL, form: bool = True, font: str = FONT, more: str = "", raw: bool = False
) -> bytes:
    """A page of 400 x 300 points with one annotation. Objects 7 and 8 are appearances, ``more`` is object 9."""
    shape = "/Type /XObject /Subtype /Form /BBox [0 0 280 30] /Resources << /Font << /F 5 0 R >> >>"
    acroform = "/AcroForm << /Fields [6 0 R] /DA (/F 12 Tf 0 g) /DR << /Font << /F 5 0 R >> >> >>" if form else ""
    return pdf_of(
        [
            f"<< /Type /Catalog /Pages 2 0 R {acroform} >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 300] /Contents 4 0 R /Annots [6 0 R]"
            " /Resources << /Font << /F 5 0 R >> /XObject << /I 9 0 R >> >> >>",
            content if raw else stream("", content),
            font,
            f"<< {note or '/Type /Annot /Subtype /Popup /Rect [0 0 1 1]'} >>",
            stream(shape, "/Tx BMC EMC"),
            stream(shape, "/Tx BMC BT /F 12 Tf 2 9 Td (Marlene Oswald) Tj ET EMC"),
            more or "null",
        ]
    )


async def drawn(renderer: Renderer, data: bytes, *, text_layer: bool = False) -> PageImage:
    with closing(await renderer.open(data, PDF)) as upload:
        return await renderer.page(upload, 1, text_layer)


def said_of(page: PageImage) -> tuple[str, bool] | None:
    return (page.shortfall.reason, 0 < page.shortfall.missing <= 1) if page.shortfall else None


@pytest.mark.parametrize(
    ("note", "form"),
    [
        (f"{TEXT_FIELD} /T (a) /V (Marlene Oswald) {SHOWS_NOTHING}", True),  # as some programs fill in a form
        (f"{TEXT_FIELD} /T (a) /V (Marlene Oswald) {SHOWS_OSWALD}", False),  # as pages are cut out of a form
        (f"{TEXT_FIELD} /T (a) /RV (<body><p>Marlene Oswald</p></body>) {SHOWS_OSWALD}", True),
    ],
)
async def test_a_value_is_drawn_however_it_is_kept(renderer: Renderer, note: str, form: bool) -> None:
    page = await drawn(renderer, page_with(note=note, form=form), text_layer=True)
    field = page.image.crop((250, 170, 950, 250)).convert("L")
    assert min(field.tobytes()) < 100
    assert [piece.text for piece in page.text_layer or ()] == ["Keeper of the light", "Marlene Oswald"]
    assert said_of(page) is None


@pytest.mark.parametrize(
    "note",
    [
        f"{TEXT_FIELD} /T (a) /RV (<body><p>Marlene Oswald</p></body>)",
        f"{TEXT_FIELD} /T (a) /DA (/F 30 Tf 0 g) /V ({LONG})",
        f"{FREE_TEXT} /Contents ({LONG})",
        f"{FREE_TEXT} /RC (<body><p>Approved</p></body>)",
        "/Type /Annot /Subtype /Stamp /Name /Approved /Rect [60 100 200 160] /F 4",
    ],
    ids=["rich text alone", "longer than its field", "note in one line", "rich note", "stamp without appearance"],
)
async def test_what_cannot_be_drawn_of_a_field_or_note_is_said(renderer: Renderer, note: str) -> None:
    page = await drawn(renderer, page_with(note=note), text_layer=True)
    assert said_of(page) == ("not-drawn", True)
    assert page.text_layer is None


@pytest.mark.parametrize("hidden", ["/F 2", "/F 36", "/F 4 /Ff 8192"], ids=["hidden", "no view", "password"])
async def test_what_nobody_is_to_see_is_not_missed(renderer: Renderer, hidden: str) -> None:
    note = f"{TEXT_FIELD} /T (a) /RV (<body><p>Marlene Oswald</p></body>)".replace("/F 4", hidden)
    assert said_of(await drawn(renderer, page_with(note=note))) is None


async def test_a_form_of_a_program_without_fields_says_so(renderer: Renderer) -> None:
    data = page_with().replace(b"/Fields [6 0 R]", b"/Fields []/XFA(x)")
    assert said_of(await drawn(renderer, data)) == ("xfa-form", True)


def jpeg(damage: str) -> bytes:
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    for row in range(20, 280, 20):
        pen.text((20, row), "The keeper trimmed the lamp and wrote the log", fill="black")
    buffer = BytesIO()
    image.save(buffer, "JPEG")
    whole = buffer.getvalue()
    return {"none": whole, "cut short": whole[: len(whole) // 2], "zeros": bytes(len(whole))}[damage]


def scan(data: bytes, filters: str) -> bytes:
    head = (
        "/Type /XObject /Subtype /Image /Width 400 /Height 300 /BitsPerComponent 8 /ColorSpace /DeviceRGB"
        f" /Filter {filters}"
    )
    return page_with(content="q 400 0 0 300 0 0 cm /I Do Q", more=stream(head, data.decode("latin-1")))


@pytest.mark.parametrize(
    ("data", "filters", "missed"),
    [
        (jpeg("none"), "/DCTDecode", None),
        (jpeg("cut short"), "/DCTDecode", ("not-drawn", True)),
        (jpeg("zeros"), "/DCTDecode", ("not-drawn", True)),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "/JPXDecode", ("not-drawn", True)),
        (b"x" * 999, "/Unheard", ("not-drawn", True)),
        (b"x\x9cy" * 50, "/FlateDecode", ("not-drawn", True)),
        (compress(bytes([200] * 360_000)), "/FlateDecode", None),
        (compress(bytes([200] * 300_000)), "/FlateDecode", ("not-drawn", True)),
    ],
    ids=["whole", "cut short", "zeros", "JPEG 2000", "unknown", "packed", "packed, whole", "without its last rows"],
)
async def test_a_damaged_scan_is_no_blank_page(
    renderer: Renderer, data: bytes, filters: str, missed: tuple[str, bool] | None
) -> None:
    assert said_of(await drawn(renderer, scan(data, filters))) == missed


CYRILLIC = (
    "<< /Type /Font /Subtype /TrueType /BaseFont /ArialMT /FirstChar 65 /LastChar 68 /Widths [560 560 560 560]"
    " /Encoding << /Type /Encoding /Differences [65 /afii10017 /afii10018 /afii10019 /afii10020] >>"
    " /FontDescriptor << /Type /FontDescriptor /FontName /ArialMT /Flags 32 /FontBBox [0 -200 1000 900]"
    " /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >> >>"
)


async def test_letters_without_a_font_are_said_to_be_missing_or_come_from_the_layer(renderer: Renderer) -> None:
    data = page_with(content="BT /F 14 Tf 20 TL 30 250 Td (ABCD DCBA) Tj T* (ABCD ABCD) Tj ET", font=CYRILLIC)
    assert said_of(await drawn(renderer, data)) == ("not-drawn", True)
    page = await drawn(renderer, data, text_layer=True)
    assert [piece.text for piece in page.text_layer or ()] == ["АБВГ ГВБА", "АБВГ АБВГ"]
    assert page.shortfall is None


LOG = " ".join(
    f"BT /F 9 Tf 30 {280 - 9 * row} Td (Entry {row}: the lamp was lit at {row} past six) Tj ET" for row in range(30)
)
PACKED = compress(LOG.encode())
FORM_OF_TEXT = "/Type /XObject /Subtype /Form /BBox [0 0 400 300] /Resources << /Font << /F 5 0 R >> >>"


def drawn_from(data: bytes, filters: str) -> bytes:
    return page_with(content=stream(f"/Filter {filters}", data.decode("latin-1")), raw=True)


@pytest.mark.parametrize(
    ("data", "filters", "missed"),
    [
        (PACKED, "/FlateDecode", None),
        (PACKED[:-4], "/FlateDecode", None),  # the checksum alone is gone
        (a85encode(PACKED) + b"~>", "[/ASCII85Decode /FlateDecode]", None),
        (PACKED[: len(PACKED) // 2], "/FlateDecode", "not-drawn"),
        (PACKED[:200] + bytes(20) + PACKED[220:], "/FlateDecode", "not-drawn"),
        (a85encode(PACKED)[: len(PACKED) // 2], "[/A85 /Fl]", "not-drawn"),
        (PACKED, "/Unheard", "not-drawn"),
        (LOG.encode()[: len(LOG) // 2], "[]", "not-drawn"),
    ],
    ids=["whole", "no checksum", "ASCII", "cut short", "damaged", "ASCII cut short", "unknown", "plain, cut short"],
)
async def test_a_page_whose_instructions_break_off_is_not_whole(
    renderer: Renderer, data: bytes, filters: str, missed: str | None
) -> None:
    page = await drawn(renderer, drawn_from(data, filters), text_layer=True)
    assert (page.shortfall.reason if page.shortfall else None) == missed
    assert (page.text_layer is None) == (missed is not None)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_form_that_breaks_off_is_missed_on_the_page_that_draws_it(renderer: Renderer, whole: bool) -> None:
    packed = PACKED if whole else PACKED[: len(PACKED) // 2]
    data = page_with(
        content=f"{LABEL} /I Do", more=stream(f"{FORM_OF_TEXT} /Filter /FlateDecode", packed.decode("latin-1"))
    )
    page = await drawn(renderer, data)
    assert (page.shortfall is None) == whole


@pytest.mark.parametrize(("size", "missed"), [(6, None), (0.5, ("too-small", True))])
async def test_print_too_small_to_be_drawn_is_said(
    renderer: Renderer, size: float, missed: tuple[str, bool] | None
) -> None:
    lines = " ".join(f"({line * 40}) Tj T*" for line in "abcdefgh")
    terms = "Terms of the harbour: no boat is to leave without a lamp, and none without its keeper"
    content = f"BT /F 6 Tf 8 TL 30 250 Td {lines} ET BT /F {size} Tf 30 100 Td ({terms}) Tj ET"
    assert said_of(await drawn(renderer, page_with(content=content))) == missed
