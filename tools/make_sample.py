"""Writes ``docs/sample.pdf``: two pages made for this project, with headings, paragraphs, a list, a table and a figure.

``python tools/make_sample.py``. The same bytes every time; the text is ours and free for any use.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from shared.commandline import no_arguments

WIDTH, HEIGHT, MARGIN = 595, 842, 64  # A4 in points
LEADING = 15.5

PARAGRAPHS_1 = [
    "The harbour library of Aldmouth was opened again in March, after two years",
    "of repairs. Its reading room holds forty seats, a catalogue on cards, and the",
    "letters of three lighthouse keepers. Visitors are asked to leave umbrellas,",
    "ladders and parrots at the entrance.",
    "",
    "The table below counts what was borrowed in the first quarter. Charts were",
    "asked for most, by sailors and by painters alike; dictionaries hardly moved.",
]
TABLE = [
    ["Kind", "January", "February", "March"],
    ["Charts", "128", "141", "197"],
    ["Novels", "96", "88", "120"],
    ["Letters", "17", "23", "31"],
    ["Dictionaries", "2", "0", "1"],
]
CLOSING = [
    "Fines came to 41.50 in all, of which 12.00 were paid in herring. The board",
    "has decided to accept no more fish after the first of May.",
]
PARAGRAPHS_2 = [
    "Anyone may propose a change to these rules. A proposal is read aloud on the",
    "first Monday of the month and is put to the vote a week later.",
]
LIST = [
    "1. Books are returned dry.",
    "2. Maps are folded along their old folds.",
    "3. The lamp in the window is never put out.",
]
CAPTION = "Figure 1: The lighthouse, seen from the reading room."


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


class SampleSheet:
    """A page under construction; ``y`` is where the next line goes, from the top."""

    def __init__(self) -> None:
        self.y = MARGIN + 10.0
        self.parts: list[str] = []

    def line(self, text: str, size: float = 11.5, font: str = "F1", x: float = MARGIN, after: float = LEADING) -> None:
        where = f"1 0 0 1 {x:.1f} {HEIGHT - self.y:.1f} Tm"
        self.parts.append(f"BT /{font} {size} Tf {where} ({escaped(text)}) Tj ET")
        self.y += after

    def heading(self, text: str, size: float) -> None:
        self.y += size * 0.4
        self.line(text, size, "F2", after=size * 1.2 + 10)

    def lines(self, lines: list[str]) -> None:
        for text in lines:
            self.line(text)
        self.y += LEADING * 0.7

    def table(self, rows: list[list[str]], column: float = 116.0, row: float = 22.0) -> None:
        top, width = self.y - 8, column * len(rows[0])
        for i in range(len(rows) + 1):
            self._rule(MARGIN, top + i * row, MARGIN + width, top + i * row)
        for i in range(len(rows[0]) + 1):
            self._rule(MARGIN + i * column, top, MARGIN + i * column, top + len(rows) * row)
        for i, cells in enumerate(rows):
            for j, cell in enumerate(cells):
                self.y = top + i * row + 15
                self.line(cell, 11, "F1" if i else "F2", MARGIN + j * column + 8)
        self.y = top + len(rows) * row + 28

    def _rule(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f"0.8 w {x1:.1f} {HEIGHT - y1:.1f} m {x2:.1f} {HEIGHT - y2:.1f} l S")

    def picture(self, width: float, height: float) -> None:
        bottom = HEIGHT - self.y - height
        self.parts.append(f"q {width} 0 0 {height} {(WIDTH - width) / 2:.1f} {bottom:.1f} cm /Im1 Do Q")
        self.y += height + 24

    @property
    def content(self) -> bytes:
        return "\n".join(self.parts).encode("latin-1")


def lighthouse() -> bytes:
    """A picture as JPEG: dusk, hills, a lighthouse and its beam."""
    image = Image.new("RGB", (720, 420))
    draw = ImageDraw.Draw(image)
    for y in range(420):
        draw.line([(0, y), (720, y)], fill=(60 + y // 4, 80 + y // 5, 150 - y // 6))
    draw.polygon([(470, 118), (0, 20), (0, 140)], fill=(215, 205, 150))
    for base, tone in ((280, 70), (320, 50)):
        ridge = [(x, base + 24 * math.sin(x / 85 + base)) for x in range(0, 721, 8)]
        draw.polygon([*ridge, (720, 420), (0, 420)], fill=(tone, tone + 25, tone))
    image = image.filter(ImageFilter.GaussianBlur(1.5))
    draw = ImageDraw.Draw(image)
    draw.polygon([(455, 330), (465, 140), (495, 140), (505, 330)], fill=(235, 230, 220))
    for y in range(160, 330, 48):
        draw.rectangle([(459, y), (501, y + 20)], fill=(170, 40, 40))
    draw.rectangle([(460, 105), (500, 140)], fill=(250, 240, 170), outline=(40, 40, 40), width=4)
    draw.polygon([(452, 105), (508, 105), (480, 78)], fill=(120, 30, 30))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


def pages() -> list[SampleSheet]:
    first, second = SampleSheet(), SampleSheet()
    first.heading("The Harbour Library", 24)
    first.lines(PARAGRAPHS_1)
    first.heading("What was borrowed", 16)
    first.table(TABLE)
    first.lines(CLOSING)
    second.heading("Library rules", 16)
    second.lines(PARAGRAPHS_2)
    second.lines(LIST)
    second.picture(360, 210)
    second.line(CAPTION, 10, x=170)
    return [first, second]


def stream(head: str, data: bytes) -> bytes:
    return f"<< {head} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def pdf() -> bytes:
    fonts = "/Font << /F1 3 0 R /F2 4 0 R >> /XObject << /Im1 5 0 R >>"
    picture = "/Type /XObject /Subtype /Image /Width 720 /Height 420 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    sheet = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources << {fonts} >> /Contents %d 0 R >>"
    )
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    first, second = pages()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [6 0 R 7 0 R] /Count 2 >>",
        (font % "Helvetica").encode(),
        (font % "Helvetica-Bold").encode(),
        stream(f"{picture} /Filter /DCTDecode", lighthouse()),
        (sheet % 8).encode(),
        (sheet % 9).encode(),
        stream("", first.content),
        stream("", second.content),
    ]
    return assembled(objects)


def assembled(objects: list[bytes]) -> bytes:
    """The objects as a file, with the table that says where each one begins."""
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    return bytes(out + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())


if __name__ == "__main__":
    no_arguments("tools.make_sample", __doc__)
    (Path(__file__).parents[1] / "docs" / "sample.pdf").write_bytes(pdf())
