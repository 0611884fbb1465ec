"""Uploads made to hurt: seeded, no network, each with what must become of it.

``python -m tests.hostile.make FOLDER`` writes them out; ``cases()`` gives them one by one.
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.samples import HEIC_PICTURE

SEED = 20260101
ANY = "any"  # taken, with pages that may fail, or refused by any code of ours: what damage does is not foreseeable
TAKEN = "taken"  # accepted; a page may fail


@dataclass(frozen=True, slots=True)
class Case:
    """``verdict``: a refusal's code, ``TAKEN`` or ``ANY``."""

    name: str
    verdict: str
    data: bytes = field(repr=False)


def cases() -> Iterator[Case]:
    for family in (wrong_types, cut_short, mutated, huge_images, odd_images, tiffs, refused_pdfs, odd_pdfs, slow_pdfs):
        yield from family()


def picture(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    """A picture with noise in it, so that nothing compresses it away."""
    noise = Image.frombytes("L", size, random.Random(SEED).randbytes(size[0] * size[1]))
    out = BytesIO()
    noise.convert(mode).save(out, kind, **options)
    return out.getvalue()


def unsupported_types() -> Iterator[Case]:
    unsupported = {
        "ppm": picture("PPM"),
        "ico": picture("ICO"),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n{ } loop\n",
        "psd": b"8BPS\x00\x01" + bytes(64),
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b"<svg xmlns='x'><script/></svg>",
        "zip": b"PK\x03\x04" + bytes(60),
        "elf": b"\x7fELF" + bytes(60),
        "exe": b"MZ" + bytes(60),
        "text": b"hello",
        "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(64),
        "bm": b"BM are the first letters of this text",
        "nul": b"\x00",
        "nuls": bytes(100_000),
        "late-pdf": b" " * 2000 + pdf([""]),
        "riff-wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
        "gzip": b"\x1f\x8b\x08" + bytes(30),
        "xml-bomb": b"<!DOCTYPE a [<!ENTITY a 'b'>]><a>&a;</a>",
        "utf16": "%PDF-1.7".encode("utf-16"),
    }
    for name, data in unsupported.items():
        yield Case(f"wrong-{name}", "unsupported-media", data)


def wrong_types() -> Iterator[Case]:
    yield from unsupported_types()
    yield Case("empty", "file-empty", b"")
    marks = {
        "jpeg": b"\xff\xd8\xff",
        "png": b"\x89PNG\r\n\x1a\n",
        "tiff": b"II*\x00",
        "tiff-be": b"MM\x00*",
        "bigtiff": b"II+\x00",
        "webp": b"RIFF\x04\x00\x00\x00WEBP",
        "pdf": b"%PDF-1.7\n",
        "gif": b"GIF89a",
        "jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        "avif": b"\x00\x00\x00\x14ftypavif\x00\x00\x00\x00mif1",
        "heic": b"\x00\x00\x00\x14ftypheic\x00\x00\x00\x00mif1",
        "bmp": b"BM" + bytes(12) + b"\x28\x00\x00\x00",
    }
    for name, mark in marks.items():
        yield Case(f"only-the-mark-{name}", "corrupt-file", mark)
        yield Case(f"mark-and-nuls-{name}", "corrupt-file", mark + bytes(5000))
        yield Case(f"mark-and-noise-{name}", "corrupt-file", mark + random.Random(SEED).randbytes(5000))
    yield Case("html-that-says-pdf", "corrupt-file", b"<html>%PDF-1.7 <script>alert(1)</script></html>")
    yield Case("jpeg-then-pdf", TAKEN, picture("JPEG") + pdf([""]))
    yield Case("png-then-zip", TAKEN, picture("PNG") + b"PK\x03\x04" + bytes(200))
    yield Case("junk-then-pdf", TAKEN, b"some junk\n" + pdf([""]))
    yield Case("pdf-then-png", ANY, pdf([""]) + picture("PNG"))


def bmp(width: int, height: int) -> bytes:
    """A BMP whose header says what it likes."""
    data = bytearray(picture("BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def cut_short() -> Iterator[Case]:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"):
        whole = picture(kind, (200, 200))
        for share in (10, 35, 60, 85):
            yield Case(f"cut-{kind.lower()}-{share}", "corrupt-file", whole[: len(whole) * share // 100])
    whole = pdf(["0 0 m 9 9 l S"] * 3)
    for share in (3, 20, 50, 90):
        yield Case(f"cut-pdf-{share}", ANY, whole[: len(whole) * share // 100])


def mutated() -> Iterator[Case]:
    dice = random.Random(SEED)
    kinds = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000")
    wholes = {kind.lower(): picture(kind) for kind in kinds} | {"heic": HEIC_PICTURE, "pdf": pdf(["0 0 m S"] * 3)}
    for kind, whole in wholes.items():
        for number in range(10):
            data = bytearray(whole)
            for _ in range(1 + number):
                data[dice.randrange(8, len(data))] = dice.randrange(256)
            yield Case(f"mutated-{kind}-{number}", ANY, bytes(data))


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 1, pixels: bytes = b"") -> bytes:
    """A PNG (grey) whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    body = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def huge_images() -> Iterator[Case]:
    for width, height in (
        (120_000_001, 1),
        (1, 120_000_001),
        (20_000, 20_000),
        (60_000, 60_000),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
    ):
        yield Case(f"huge-png-{width}x{height}", "image-too-large", png(width, height))
    yield Case("huge-png-bomb", "image-too-large", png(20_000, 20_000, pixels=bytes(2501) * 20_000))
    jpeg = bytearray(picture("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    yield Case("huge-jpeg", "image-too-large", bytes(jpeg))
    yield Case("wide-webp", TAKEN, picture("WEBP", (8000, 2), "RGB"))
    gif = picture("GIF")
    yield Case("huge-gif", "image-too-large", gif[:6] + b"\xff\xff\xff\xff" + gif[10:])
    yield Case("huge-bmp", "image-too-large", bmp(60_000, 60_000))
    yield Case("huge-tiff", "image-too-large", tiff([(40_000, 40_000)]))
    yield Case("zero-png", "corrupt-file", png(0, 0))
    yield Case("large-square", TAKEN, png(6400, 6400, pixels=bytes(801) * 6400))
    yield Case("largest-allowed", TAKEN, png(12_000, 10_000, pixels=bytes(1501) * 10_000))
    yield Case("longest-allowed", TAKEN, png(1, 120_000_000 // 64, pixels=bytes(2) * (120_000_000 // 64)))
    yield Case("long-strip", TAKEN, png(6400, 1, pixels=bytes(801)))


def odd_images() -> Iterator[Case]:
    for mode, kind in (
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("F", "TIFF"),
        ("I;16", "TIFF"),
        ("LAB", "TIFF"),
        ("CMYK", "TIFF"),
    ):
        out = BytesIO()
        Image.new(mode, (20, 20)).save(out, kind)
        yield Case(f"mode-{mode.lower().replace(';', '')}-{kind.lower()}", TAKEN, out.getvalue())
    stills = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    for kind in ("PNG", "WEBP"):
        out = BytesIO()
        stills[0].save(out, kind, save_all=True, append_images=stills[1:])
        yield Case(f"animated-{kind.lower()}", TAKEN, out.getvalue())
    text = b"a\x00\x00" + zlib.compress(bytes(30_000_000), 9)
    yield Case("png-text-bomb", ANY, png(8, 8, (b"zTXt", text), pixels=bytes(16)))
    yield Case("png-profile-bomb", ANY, png(8, 8, (b"iCCP", text), pixels=bytes(16)))
    yield Case("png-chunk-longer-than-file", "corrupt-file", png(8, 8)[:33] + b"\x7f\xff\xff\xffIDAT")
    yield Case("png-inflates-beyond-its-size", TAKEN, png(8, 8, pixels=bytes(50_000_000)))
    yield Case("jpeg-exif-noise", ANY, picture("JPEG", exif=b"Exif\x00\x00" + random.Random(SEED).randbytes(9000)))


def tiff(sizes: list[tuple[int, int]], *, loop: bool = False) -> bytes:
    """A TIFF with frames of these claimed sizes, each with eight bytes of pixels."""
    out = bytearray(b"II*\x00\x08\x00\x00\x00")
    for number, (width, height) in enumerate(sizes):
        tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1)]
        tags += [(278, 4, height), (279, 4, 8)]
        end = len(out) + 2 + 12 * len(tags) + 4
        last = number == len(sizes) - 1
        out += struct.pack("<H", len(tags))
        out += b"".join(struct.pack("<HHII", tag, kind, 1, end if tag == 273 else value) for tag, kind, value in tags)
        out += struct.pack("<I", (8 if loop else 0) if last else end + 8) + bytes(8)
    return bytes(out)


def tiffs() -> Iterator[Case]:
    yield Case("tiff-second-frame-40000", "image-too-large", tiff([(4, 2), (40_000, 40_000)]))
    yield Case("tiff-third-frame-too-long", "image-too-large", tiff([(4, 2), (4, 2), (120_000_001, 1)]))
    yield Case("tiff-loop", TAKEN, tiff([(4, 2), (4, 2)], loop=True))
    yield Case("tiff-loop-to-itself", TAKEN, tiff([(4, 2)], loop=True))
    yield Case("tiff-3000-frames", "too-many-pages", tiff([(4, 2)] * 3000))
    yield Case("tiff-zero-frame", ANY, tiff([(4, 2), (0, 0)]))
    yield Case("tiff-pixels-missing", "corrupt-file", tiff([(4000, 4000)]))
    yield Case("tiff-many-frames", TAKEN, tiff([(4, 2)] * 500))


def refused_pdfs() -> Iterator[Case]:
    catalogue = "<< /Type /Catalog /Pages 2 0 R >>"
    yield Case("pdf-no-pages", "corrupt-file", pdf_of([CATALOGUE, "<< /Type /Pages /Count 0 /Kids [] >>"]))
    yield Case("pdf-no-page-tree", "corrupt-file", pdf_of(["<< /Type /Catalog >>"]))
    key = "<" + "41" * 32 + ">"
    encrypt = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O {key} /U {key} /P -4 >> /ID [<00> <00>]"
    pages = [
        catalogue,
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
    ]
    yield Case("pdf-encrypted", "encrypted-pdf", pdf_of(pages, encrypt))
    yield Case("pdf-unknown-encryption", ANY, pdf_of(pages, "/Encrypt << /Filter /Mine /V 9 >> /ID [<00> <00>]"))
    yield Case("pdf-3000-pages", "too-many-pages", pdf([""] * 3000))


CATALOGUE = "<< /Type /Catalog /Pages 2 0 R >>"
BOXES = (
    "0 0 1000000 1000000", "0 0 0 0", "0 0 -5 -5", "0 0 1e400 1e400", "0 0 0.001 100000", "9 9 9 9", "a b c d",
)  # fmt: skip


def odd_pdfs() -> Iterator[Case]:
    for box in BOXES:
        yield Case(f"pdf-box-{box.replace(' ', '_')}", TAKEN, pdf(["0 0 m 9 9 l S"], box=box))
    yield from odd_page_trees()
    yield Case("pdf-deep-graphics-state", TAKEN, pdf(["q " * 200_000 + "0 0 m 9 9 l S"]))
    yield Case("pdf-form-calls-itself", TAKEN, form_that_calls_itself())
    squeezed = zlib.compress(bytes(100_000_000), 9)
    yield Case("pdf-stream-bomb", TAKEN, pdf_with_stream(squeezed, "/Filter /FlateDecode"))
    twice = zlib.compress(zlib.compress(bytes(150_000_000), 9), 9)
    yield Case("pdf-stream-bomb-twice", TAKEN, pdf_with_stream(twice, "/Filter [/FlateDecode /FlateDecode]"))
    for name, size in (("wide", (60_000, 1)), ("large", (30_000, 30_000)), ("overflowing", (2**31 - 1, 2**31 - 1))):
        inline = f"BI /W {size[0]} /H {size[1]} /CS /G /BPC 8 ID \x00\x00 EI"
        yield Case(f"pdf-inline-image-{name}", TAKEN, pdf([inline]))
    yield Case("pdf-javascript", TAKEN, pdf_that_opens_with("/S /JavaScript /JS (while\\(true\\){})"))
    yield Case("pdf-launch-and-uri", TAKEN, pdf_that_opens_with("/S /Launch /F (/bin/sh)"))
    yield Case("pdf-xref-beyond-the-end", ANY, pdf([""]).replace(b"startxref\n", b"startxref\n999999999"))
    yield Case("pdf-xref-loop", ANY, pdf_of(pages_of_one(), "/Prev 9"))
    yield Case("pdf-user-unit", TAKEN, pdf(["0 0 m 9 9 l S"], box="0 0 612 792] /UserUnit 75000 /CropBox [0 0 9 9"))
    for number, operators in enumerate(("BT " * 50_000, "(" * 50_000, "[" * 50_000, "<<" * 50_000, "BI " * 20_000)):
        yield Case(f"pdf-operators-{number}", TAKEN, pdf([operators]))


def odd_page_trees() -> Iterator[Case]:
    yield Case(
        "pdf-pages-loop", ANY, pdf_of([CATALOGUE, "<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] /Parent 2 0 R >>"])
    )
    yield Case("pdf-count-lies", ANY, pdf_of([CATALOGUE, "<< /Type /Pages /Count 1999 /Kids [] >>"]))
    yield Case("pdf-count-negative", ANY, pdf_of([CATALOGUE, "<< /Type /Pages /Count -1 /Kids [] >>"]))
    yield Case("pdf-count-enormous", ANY, pdf_of([CATALOGUE, "<< /Type /Pages /Count 2147483647 /Kids [] >>"]))
    yield Case(
        "pdf-deep-array",
        ANY,
        pdf_of([CATALOGUE, "<< /Type /Pages /Count 1 /Kids " + "[" * 50_000 + "]" * 50_000 + " >>"]),
    )
    yield Case("pdf-deep-dictionary", ANY, pdf_of(["<< /A " * 20_000 + ">>" * 20_000]))


def form_that_calls_itself() -> bytes:
    form = "<< /Type /XObject /Subtype /Form /BBox [0 0 99 99] /Resources << /XObject << /X 3 0 R >> >> /Length 5 >>"
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 5 0 R /Resources << /XObject << /X 3 0 R >> >> >>"
    )
    content = "<< /Length 5 >>\nstream\n/X Do\nendstream"
    kids = "<< /Type /Pages /Count 1 /Kids [4 0 R] >>"
    return pdf_of([CATALOGUE, kids, form + "\nstream\n/X Do\nendstream", page, content])


def pdf_that_opens_with(action: str) -> bytes:
    return pdf_of([f"<< /Type /Catalog /Pages 2 0 R /OpenAction << {action} >> >>", *pages_of_one()[1:]])


def pages_of_one() -> list[str]:
    return [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>",
    ]


def pdf_with_stream(data: bytes, filters: str) -> bytes:
    """One page whose content is ``data`` through ``filters``."""
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R >>"
    body = data.decode("latin-1")
    objects = [*pages_of_one()[:2], page, f"<< /Length {len(data)} {filters} >>\nstream\n{body}\nendstream"]
    return pdf_of(objects)


def slow_pdfs() -> Iterator[Case]:
    yield Case("pdf-strokes", TAKEN, stroke_pdf(250_000))
    yield Case("pdf-many-strokes", TAKEN, stroke_pdf(400_000))


def pdf(contents: list[str], *, fonts: bool = False, box: str = "0 0 612 792") -> bytes:
    """A PDF with a page for each content stream."""
    font = "/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>" if fonts else ""
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(contents)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Count {len(contents)} /Kids [{kids}] >>"]
    for i, content in enumerate(contents):
        resources = f"/Resources << {font} >> /MediaBox [{box}]"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {4 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    return pdf_of(objects)


def pdf_of(objects: list[str], trailer: str = "") -> bytes:
    """A PDF of raw objects, numbered from 1; the first is the catalogue."""
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body.encode("latin-1"))
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def stroke_pdf(strokes: int) -> bytes:
    """Two pages; the first draws so many curves over each other that it takes a renderer half a minute and more."""
    line = "0 0 m 600 780 10 400 {} 790 c S\n"
    return pdf(["0.1 w\n" + "".join(line.format(i % 600) for i in range(strokes)), ""])


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases():
        (folder / f"{case.name}.{case.verdict}").write_bytes(case.data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
