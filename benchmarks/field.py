"""What people really bring, and what is lost of it without a word: the files of ``../shared/field``.

Each goes the way of an upload: checked, rendered, read. Its words are compared with the right ones. A word that is
missing is *admitted* when a page says ``degraded`` or ``failed``, or the file was refused with an error; else it was
lost in silence, which must not happen. Values that belong to a word (a tab in the right text) stand on its line.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from rapidfuzz.distance import LCSseq

from shared.contract.document import PageStatus
from shared.contract.options import Options, TextLayer
from shared.errors import OCRError
from shared.upload_check import Asked, UploadLimits, inspect
from worker.engines import parts
from worker.engines.base import Engine, PageRead, Piece
from worker.render import Renderer
from worker.settings import WorkerSettings

FIELD = Path(__file__).parents[1].parent / "shared" / "field"
NO_UPLOADS = {".txt", ".py", ".md"}
MOST_PAGES = 3
KINDS = {
    "form": "forms", "script": "scripts", "textlayer": "text layers", "box": "page boxes", "pdfjs": "odd PDFs",
    "long": "long pages", "scroll": "long pages", "small": "small pages", "userunit": "small pages",
    "olmocr": "small pages", "cells": "very full pages", "curved": "bent pages", "toc": "words and values",
    "price": "words and values", "key": "words and values", "two": "columns", "resume": "columns",
    "scan": "large scans", "tiff": "TIFF", "side": "turned writing", "numbered": "numbered paragraphs",
    "checkboxes": "checkboxes",
    "printed": "printed marks", "photo": "phone pictures", "white": "transparency",
}  # fmt: skip
ORDERED = {"columns", "numbered paragraphs", "bent pages", "large scans", "long pages", "small pages"}
"""Kinds whose right text is running text, or lines from top to bottom."""

BOXES = str.maketrans({"☐": "[ ]", "☒": "[x]", "☑": "[x]", "✓": "[x]"})


@dataclass
class FieldCase:
    """One file: what became of its pages, or why it was refused. ``words``: of the right text, where that is known.

    ``lost``: words that are missing. ``parted``: values on another line than their words. ``misplaced``: words out of
    order, where a page is read in columns or paragraphs.
    """

    name: str
    kind: str
    pages: list[str] = field(default_factory=list)
    text: str = ""
    refused: str = ""
    words: int = 0
    lost: int = 0
    parted: int = 0
    misplaced: int = 0
    tesseract_lost: int | None = None

    @property
    def admitted(self) -> bool:
        return bool(self.refused) or any(
            page.startswith((PageStatus.DEGRADED, PageStatus.FAILED)) for page in self.pages
        )

    @property
    def silent(self) -> int:
        return 0 if self.admitted else self.lost + self.parted + self.misplaced


def sequence(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text.translate(BOXES)).lower()
    return re.findall(r"[^\W_]+|\[[ x]\]", text)


def words(text: str) -> Counter[str]:
    return Counter(sequence(text))


def cases(only: str) -> Iterator[Path]:
    for path in sorted(FIELD.iterdir()) if FIELD.is_dir() else []:
        if path.suffix not in NO_UPLOADS and path.is_file() and only in path.name:
            yield path


def compared(case: FieldCase, truth: str, plain: str) -> FieldCase:
    """Count the words that are missing or out of order, and the values on another line than their words."""
    want = words(truth)
    case.words, case.lost = want.total(), (want - words(plain)).total()
    if case.kind in ORDERED:
        case.misplaced = case.words - case.lost - LCSseq.similarity(sequence(truth), sequence(plain))
    lines = [words(line) for line in plain.splitlines()]
    rows = [words(row) for row in truth.splitlines() if "\t" in row]
    case.parted = sum(not any((row - line).total() == 0 for line in lines) for row in rows)
    return case


async def read_file(
    engine: Engine, renderer: Renderer, path: Path, limits: UploadLimits
) -> tuple[FieldCase, Image.Image | None]:
    """A file as a worker reads it, and the picture of its first page."""
    case = FieldCase(path.name, KINDS.get(re.split(r"[_.-]", path.name)[0], "other"))
    picture: Image.Image | None = None
    prefers = path.name.startswith("textlayer")
    options = Options(text_layer=TextLayer.PREFER if prefers else TextLayer.IGNORE)
    data = await asyncio.to_thread(path.read_bytes)
    try:
        with closing(await renderer.open(data, inspect(data, Asked(path.name), limits).media_type)) as upload:
            for number in range(1, min(upload.pages, MOST_PAGES) + 1):
                try:
                    page = await renderer.page(upload, number, text_layer=prefers)
                except OCRError as error:
                    case.pages.append(f"{PageStatus.FAILED} {error.code}")
                    continue
                picture = picture or page.image
                read = await last(parts.read(engine, page, options))
                read = read.admitting(page.shortfall)
                case.pages.append(" ".join(filter(None, (read.status, read.reason, f"{read.missing:.2f}"))))
                case.text += read.markdown + "\n\n"
    except OCRError as error:
        case.refused = error.code
    return case, picture


async def last(pieces: AsyncIterator[Piece]) -> PageRead:
    async for piece in pieces:
        if isinstance(piece, PageRead):
            return piece
    raise RuntimeError("the engine gave no page")


async def measure(
    engine: Engine, only: str, plain: Callable[[str], str], tesseract: Callable[[Image.Image, str], str] | None
) -> list[FieldCase]:
    """Every file of the folder; ``plain`` takes the Markdown signs off."""
    settings = WorkerSettings(_env_file=None)
    renderer, found = Renderer(settings), []
    try:
        for path in cases(only):
            case, picture = await read_file(engine, renderer, path, UploadLimits.of(settings))
            right = path.with_name(path.name.rsplit(".", 1)[0] + ".truth.txt")
            if right.exists():
                compared(case, right.read_text(), plain(case.text))
                if tesseract and picture:
                    case.tesseract_lost = (words(right.read_text()) - words(tesseract(picture, "eng"))).total()
            found.append(case)
            show(case)
    finally:
        await renderer.close()
    return found


def show(case: FieldCase) -> None:
    mark = "SILENT" if case.silent else "admits" if case.admitted else "right "
    theirs = "" if case.tesseract_lost is None else f"tesseract {case.tesseract_lost}"
    state = case.refused or ", ".join(case.pages)
    counts = f"lost {case.lost:4} of {case.words:5}  parted {case.parted:3}  misplaced {case.misplaced:3}"
    print(
        f"{case.name:34} {mark} {counts}  {theirs:15} {state}",
        flush=True,
    )


def by_kind(found: list[FieldCase]) -> dict[str, dict[str, int]]:
    """Files, right ones, those that admit a loss, words, lost words, words lost in silence, and tesseract's losses."""
    table: dict[str, dict[str, int]] = {}
    groups: dict[str, list[FieldCase]] = defaultdict(list)
    for case in found:
        groups[case.kind].append(case)
    for kind, own in [*groups.items(), ("ALL", found)]:
        table[kind] = {
            "files": len(own),
            "right": sum(not case.admitted and not case.silent for case in own),
            "admit": sum(case.admitted for case in own),
            "words": sum(case.words for case in own),
            "lost": sum(case.lost for case in own),
            "silent": sum(case.silent for case in own),
            "tesseract_lost": sum(case.tesseract_lost or 0 for case in own),
        }
    return table


def report(found: list[FieldCase]) -> bool:
    """Print the table by kind; true if nothing was lost in silence."""
    for kind, row in by_kind(found).items():
        print(f"{kind:22} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    total = by_kind(found)["ALL"]
    share = 100 * total["silent"] / max(1, total["words"])
    print(f"{'met   ' if not total['silent'] else 'MISSED'}  words lost that no status admits: {share:.2f} % (goal 0)")
    return not total["silent"]
