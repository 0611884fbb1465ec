"""Uploads made to hurt: seeded, no network, each with what must become of it.

``python -m tests.hostile.make FOLDER`` writes them out; ``cases()`` gives them one by one.
"""

from __future__ import annotations


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
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def stroke_pdf(strokes: int) -> bytes:
    """Two pages; the first draws so many curves over each other that it takes a renderer half a minute and more."""
    line = "0 0 m 600 780 10 400 {} 790 c S\n"
    return pdf(["0.1 w\n" + "".join(line.format(i % 600) for i in range(strokes)), ""])
