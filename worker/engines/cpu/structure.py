"""A page's lines and layout hints become its blocks, figures and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby

from PIL.Image import Image

from shared.contract.document import Box, PageBlock, figure_name
from worker.engines.base import FigureCrop, PageRead
from worker.engines.cpu import tables
from worker.engines.cpu.joining import row_text, run_on, vocabulary
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.lines import Line, Row, line_height, rows, union
from worker.engines.cpu.paragraphs import ParagraphPart, is_page_number, parts
from worker.engines.cpu.reading_order import Column, columns
from worker.engines.cpu.regions import Region, find_regions, label_of, with_stand_ins
from worker.engines.escape import escaped

MARGIN = 0.1
TITLE_CHARACTERS = 90
JPEG_QUALITY = 85
OVERLAP = 0.6
"""Share of a line's height that another box may cover where both are lines of their own."""

_SET_ASIDE = str.maketrans("[]", "\ufdd0\ufdd1", "\ufdd0\ufdd1")
"""Brackets as two signs that Unicode says are no characters."""
_SECTION = re.compile(r"^\d{1,3}(\.\d{1,3})*\.?\s(?=\S)")
NAMES = {"title": "title", "figure_caption": "image_caption", "table_caption": "table_caption"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What was seen on a page; all places in pixels of ``image``."""

    number: int
    image: Image
    lines: list[Line]
    hints: list[Hint]


def compose(scene: Scene) -> PageRead:
    """Blocks in reading order; the Markdown is their texts, parted by empty lines."""
    page = Composer(scene)
    blocks = tuple(page.block(part) for part in page.parts())
    return PageRead("\n\n".join(block.text for block in blocks), blocks, tuple(page.figures))


def picture_only(scene: Scene) -> PageRead:
    """A page on which nothing could be read: its picture stands for it."""
    page = Composer(scene)
    size = scene.image.size
    block = page.region_block(Region("figure", (0.0, 0.0, float(size[0]), float(size[1])), ()))
    return PageRead(block.text, (block,), tuple(page.figures))


def clipped(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """Whole pixels inside the picture, at least one wide and high."""
    x0, y0 = min(max(0, int(box[0])), size[0] - 1), min(max(0, int(box[1])), size[1] - 1)
    return x0, y0, max(x0 + 1, min(size[0], round(box[2]))), max(y0 + 1, min(size[1], round(box[3])))


def jpeg(image: Image, box: Box) -> bytes:
    buffer = BytesIO()
    image.crop(box).convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


class Composer:
    """One page on its way from lines to blocks."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.regions = find_regions(scene.lines, scene.hints, scene.image.size)
        self.height = line_height(scene.lines) if scene.lines else 1.0
        self.known = vocabulary([line.text for line in scene.lines])
        self.figures: list[FigureCrop] = []

    def parts(self) -> list[ParagraphPart]:
        """The page in reading order: what heads it, its columns, what foots it."""
        everything = with_stand_ins(self.scene.lines, self.regions, self.scene.image.width)
        # Writing up or down the margin would stand in every gutter's way; it is read last.
        lines, on_end_lines = (
            [line for line in everything if not line.turned],
            [line for line in everything if line.turned],
        )
        header = [line for line in lines if self.margin(line) == "header"]
        footer = [line for line in lines if self.margin(line) == "footer"]
        aside = {id(line) for line in (*header, *footer)}
        body = columns([line for line in lines if id(line) not in aside])
        right = self.right_edges(body)
        found = [part for column, x in zip(body, right, strict=True) for part in self.column_parts(column.rows, x)]
        on_end = [ParagraphPart("text", (Row((line,)),), escaped(line.text)) for line in on_end_lines]
        return [*self.margin_parts(header, "header"), *found, *on_end, *self.margin_parts(footer, "footer")]

    def margin(self, line: Line) -> str | None:
        """Header or footer: the layout model says so, and the line is near the page's edge."""
        if line.region is not None:
            return None
        place = (line.box[1] + line.box[3]) / 2 / self.scene.image.height
        label = label_of(Row((line,)), self.scene.hints)
        if label == "header" and place < MARGIN:
            return "header" if self.is_alone(line) else None
        return "footer" if label == "footer" and place > 1 - MARGIN else None

    def is_alone(self, line: Line) -> bool:
        """No text goes on right below a line."""
        below = (other for other in self.scene.lines if line.y1 - line.height / 2 < other.y0 < line.y1 + line.height)
        return not any(other.x0 < line.x1 and line.x0 < other.x1 for other in below)

    def margin_parts(self, lines: Sequence[Line], kind: str) -> list[ParagraphPart]:
        found = []
        for row in rows(lines):
            text = row_text(row)
            found.append(ParagraphPart("page_number" if is_page_number(text) else kind, (row,), escaped(text)))
        return found

    def right_edges(self, body: Sequence[Column]) -> list[float]:
        """Where each column ends on the right; a page without columns has the same margin on both sides."""
        own = [max(row.x1 for row in column.rows) for column in body]
        left = min((row.x0 for column in body for row in column.rows), default=0.0)
        alone = all(min(row.x0 for row in column.rows) < left + 10 * self.height for column in body)
        return [max(x, self.scene.image.width - left) for x in own] if alone else own

    def column_parts(self, column: Sequence[Row], right: float) -> list[ParagraphPart]:
        found: list[ParagraphPart] = []
        for kind, group in groupby(column, key=self.kind):
            some = list(group)
            if kind == "region":
                found.extend(ParagraphPart("region", (row,), "") for row in some)
            elif kind == "title":
                found.extend(self.titles(some))
            elif kind in ("image_caption", "table_caption"):
                found.append(ParagraphPart(kind, tuple(some), escaped(self.joined(some))))
            else:
                found.extend(parts(some, self.known, right))
        return found

    def kind(self, row: Row) -> str:
        if row.region is not None:
            return "region"
        name = NAMES.get(label_of(row, self.scene.hints) or "", "text")
        if name == "title" or self.is_large(row):
            return "title" if len(row_text(row)) <= TITLE_CHARACTERS else "text"
        return name

    def is_large(self, row: Row) -> bool:
        written = any(c.isalpha() for c in row_text(row))
        return written and row.height > 1.45 * self.height and not self.is_over_others(row)

    def is_over_others(self, row: Row) -> bool:
        """Whether another line stands within the height of a row: its box is too high, not its letters."""
        return any(
            min(row.y1, line.y1) - max(row.y0, line.y0) > OVERLAP * line.height
            and row.x0 < line.x1
            and line.x0 < row.x1
            for line in self.scene.lines
            if line not in row.pieces
        )

    def titles(self, some: Sequence[Row]) -> list[ParagraphPart]:
        """Rows of a title; those of one size, set close, are one title."""
        found: list[list[Row]] = []
        for row in some:
            if found and self.goes_on(found[-1][-1], row):
                found[-1].append(row)
            else:
                found.append([row])
        return [self.title(group) for group in found]

    def goes_on(self, above: Row, row: Row) -> bool:
        alike = abs(above.height - row.height) < 0.2 * above.height
        return alike and row.y0 - above.y1 < 0.5 * row.height and not row_text(row)[:1].isdigit()

    def title(self, group: Sequence[Row]) -> ParagraphPart:
        level = self.level(group)
        text = "#" * level + " " + escaped(self.joined(group))
        return ParagraphPart("title" if level == 1 else "sub_title", tuple(group), text)

    def level(self, group: Sequence[Row]) -> int:
        """By the number of the section where there is one, else by size."""
        if number := _SECTION.match(row_text(group[0])):
            return min(4, number.group().strip(" .").count(".") + 1)
        return 1 if max(row.height for row in group) > 1.5 * self.height else 2

    def joined(self, some: Sequence[Row]) -> str:
        text = row_text(some[0])
        for row in some[1:]:
            text = run_on(text, row_text(row), self.known)
        return text

    def block(self, part: ParagraphPart) -> PageBlock:
        if part.kind == "region":
            return self.region_block(self.region(part))
        pieces = [piece for row in part.rows for piece in row.pieces]
        box = clipped(union(piece.box for piece in pieces), self.scene.image.size)
        return PageBlock(type=part.kind, bbox=box, text=part.text, confidence=confidence(pieces))

    def region(self, part: ParagraphPart) -> Region:
        """The table or figure that a part of kind ``region`` stands for."""
        return self.regions[part.rows[0].region or 0]

    def region_block(self, region: Region) -> PageBlock:
        box = clipped(region.box, self.scene.image.size)
        text = region_text(region, self.scene.number, len(self.figures))
        if region.kind == "table":
            return PageBlock(type="table", bbox=box, text=text, confidence=confidence(region.lines))
        name = figure_name(self.scene.number, len(self.figures))
        self.figures.append(FigureCrop(name, box, jpeg(self.scene.image, box)))
        return PageBlock(type="image", bbox=box, text=text, confidence=confidence(region.lines))


def region_text(region: Region, page: int, figures: int) -> str:
    """The Markdown of a table or figure; ``figures``: how many there are before it on the page."""
    if region.kind == "table":
        return tables.markdown(region.cells)
    return f"![{alternative(region)}](images/{figure_name(page, figures)})"


def confidence(pieces: Sequence[Line]) -> float | None:
    """How sure the recogniser is of a block: the mean of its pieces, by their letters; None without writing."""
    letters = sum(len(piece.text) for piece in pieces)
    if not letters:
        return None
    return round(sum(piece.score * len(piece.text) for piece in pieces) / letters, 3)


def alternative(region: Region) -> str:
    """The writing inside a picture, as the text that stands for it. Brackets are entities: ``\\[`` opens a formula."""
    shown = escaped(region.text.translate(_SET_ASIDE))
    return shown.replace("\ufdd0", "&#91;").replace("\ufdd1", "&#93;")
