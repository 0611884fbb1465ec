"""Pages too long or too large to be read at once: cut where nothing is written, read part by part, joined again.

A cut is a path through the paper between the lines, not a straight line: it goes round what stands lower on one side.
So no word is read twice or in halves, and the parts' texts only have to be put behind each other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.contract.document import Box, PageBlock, PageStatus, Usage, figure_name
from shared.contract.options import Options
from worker.engines.base import Engine, FigureCrop, PageImage, PageRead, Piece, Restarted

LONG_ASPECT = 2.5
"""A picture longer than this times its width is read in parts; up to it, pages of all usual shapes are read whole."""

WHOLE_SIDE = 4000
"""A picture with a longer side (of a strip: 2.5 times its width) is a large sheet, and read in parts."""

PART_SIDE = 2400
SHORTEST_PART = 1400
PART_ASPECT = 1.4
"""Parts are as long as a page of their width, within these bounds in pixels."""

SINGLE_LINE = 500
"""Pixels of height up to which a wide picture is a line of text, and not cut."""

CELL = 4
"""Pixels of a side of the cells in which ink is counted."""

CONTRAST = 40
INK_COST, SHADE_COST, PAPER_COST = 2000.0, 20.0, 0.05
"""What a cell costs to be cut: with writing in it, of another colour than the paper, or of the paper's."""

BIAS, AIM = 20.0, 2 / 3
"""Among gaps alike, a path that begins at this share of the window's height: a part is as long as it may be."""

STEP_COST = 0.5
"""What a cell of a path costs in any case: it goes round what is in its way, and no further."""

NEAR_COST, NEAR = 0.2, 6
"""Paper costs less the further it is from ink, up to this many cells: a cut keeps to the wider gaps."""

Floats = NDArray[np.float64]
_SENTENCE_END = re.compile(r"[.!?:;)\]\"”’»|>]\s*$")
_FIGURE = re.compile(r"images/\d+_(\d+)\.jpg")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the page: its picture, and where its top left corner lies on the page. ``tight``: cut within text."""

    image: Image.Image
    x: int
    y: int
    tight: bool = False


def is_cut(width: int, height: int) -> bool:
    """Whether a picture of this size is read in parts."""
    long, short = max(width, height), min(width, height)
    if min(long, LONG_ASPECT * short) > WHOLE_SIDE:
        return True
    return long > LONG_ASPECT * short and long > 1.3 * part_length(short) and (height > width or height > SINGLE_LINE)


def part_length(across: int) -> int:
    """How long a part of a strip is, in pixels."""
    return round(min(PART_SIDE, max(SHORTEST_PART, PART_ASPECT * across)))


def cut(image: Image.Image) -> list[Part]:
    """The page's parts in reading order: bands from top to bottom, each from left to right."""
    bands = _cut_down(Part(image, 0, 0), part_length(min(image.width, PART_SIDE)))
    return [piece for band in bands for piece in _cut_across(band)]


def _cut_across(band: Part) -> list[Part]:
    if not is_cut(*band.image.size):
        return [band]
    turned = Part(band.image.transpose(Image.Transpose.TRANSPOSE), band.y, band.x, band.tight)
    pieces = _cut_down(turned, part_length(min(band.image.height, PART_SIDE)))
    return [Part(piece.image.transpose(Image.Transpose.TRANSPOSE), piece.y, piece.x) for piece in pieces]


def _cut_down(page: Part, length: int) -> list[Part]:
    """Bands of at most about ``length`` pixels, cut along paths through the paper."""
    image, parts, top = page.image, [], 0
    above: Floats | None = None  # the path of the last cut: pixel row by column
    tight = page.tight
    while image.height - top > 1.3 * length:
        window = image.crop((0, top + length // 2, image.width, min(image.height, top + length + length // 4)))
        path, next_tight = seam(window)
        path = path + (top + length // 2)
        if above is not None:
            path = np.maximum(path, above)
        parts.append(_band(page, top, int(path.max()) + 1, above, path, tight))
        above, top, tight = path, int(path.min()), next_tight
    parts.append(_band(page, top, image.height, above, None, tight))
    return parts


def _band(page: Part, top: int, bottom: int, above: Floats | None, below: Floats | None, tight: bool) -> Part:
    """What lies between two paths, on the paper's own colour."""
    band = page.image.crop((0, top, page.image.width, bottom))
    rows = np.arange(top, bottom)[:, None]
    outside = np.zeros((bottom - top, page.image.width), bool)
    if above is not None:
        outside |= rows < above[None, :]
    if below is not None:
        outside |= rows >= below[None, :]
    if outside.any():
        band.paste(paper(band), mask=Image.fromarray(outside))
    return Part(band, page.x, page.y + top, tight)


def paper(image: Image.Image) -> tuple[int, ...]:
    """The picture's most usual colour."""
    small = image.reduce(max(1, min(image.size) // 100)).quantize(16)
    usual = int(np.bincount(np.asarray(small).ravel()).argmax())
    return tuple((small.getpalette() or [255, 255, 255])[3 * usual : 3 * usual + 3])


def seam(window: Image.Image) -> tuple[Floats, bool]:
    """The cheapest path from left to right: for each column its row in pixels; and whether text runs on across it."""
    cost, ink = costs(window)
    cost = cost + STEP_COST  # of every cell, also of those that a path goes up or down through
    rows = np.arange(len(cost))
    total = cost[:, 0] + BIAS * np.abs(rows / len(cost) - AIM)
    steps = [total]
    for column in range(1, cost.shape[1]):
        total = _step(total, cost[:, column])
        steps.append(total)
    rows = _backtrack(np.stack(steps, axis=1), cost)
    path = np.repeat(rows * float(CELL), CELL)[: window.width]
    path = np.pad(path, (0, window.width - len(path)), mode="edge")
    return path, _is_tight(ink, rows)


def costs(window: Image.Image) -> tuple[Floats, NDArray[np.bool_]]:
    """What each cell costs to be cut, and whether there is ink in it."""
    grey = np.asarray(window.convert("L"))
    height, width = (max(1, side // CELL) for side in grey.shape)
    cells = grey[: height * CELL, : width * CELL].reshape(height, -1, width, min(CELL, grey.shape[1])).astype(np.int16)
    darkest, lightest = cells.min(axis=(1, 3)), cells.max(axis=(1, 3))
    ink = lightest - darkest > CONTRAST
    shaded = np.abs((darkest + lightest) // 2 - _shade(paper(window))) > CONTRAST
    near = np.zeros(ink.shape)
    for distance in range(1, NEAR + 1):
        near[distance:] += (ink | shaded)[:-distance]
        near[:-distance] += (ink | shaded)[distance:]
    return PAPER_COST + NEAR_COST * np.minimum(near, 4) + INK_COST * ink + SHADE_COST * shaded, ink | shaded


def _shade(colour: tuple[int, ...]) -> int:
    red, green, blue = colour
    return (299 * red + 587 * green + 114 * blue) // 1000


def _step(before: Floats, cost: Floats) -> Floats:
    """Total costs one column further: straight on, or up and down along the column, which costs what lies there."""
    walked = np.cumsum(cost)
    down = np.minimum.accumulate(before - walked + cost) + walked
    back = np.cumsum(cost[::-1])
    up = (np.minimum.accumulate(before[::-1] - back + cost[::-1]) + back)[::-1]
    return np.asarray(np.minimum(down, up))


def _backtrack(total: Floats, cost: Floats) -> NDArray[np.int64]:
    """The path's row for each column, from the totals of all columns."""
    rows = np.zeros(total.shape[1], np.int64)
    rows[-1] = int(total[:, -1].argmin())
    for column in range(total.shape[1] - 1, 0, -1):
        walked = np.concatenate(([0.0], np.cumsum(cost[:, column], dtype=np.float64)))
        at = rows[column]
        starts = np.arange(cost.shape[0])
        between = np.where(starts <= at, walked[at + 1] - walked[starts], walked[starts + 1] - walked[at])
        rows[column - 1] = int((total[:, column - 1] + between).argmin())
    return rows


def _is_tight(ink: NDArray[np.bool_], rows: NDArray[np.int64]) -> bool:
    """Whether the gap that was cut is no wider than those between the other lines of the window."""
    lines = np.asarray(ink.any(axis=1))
    edges = np.flatnonzero(np.diff(np.concatenate(([1], lines.view(np.int8), [1]))))
    gaps = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    own = next((b - a for a, b in gaps if a <= np.median(rows) <= b), 0)
    inner = sorted(b - a for a, b in gaps if a > 0 and b < len(lines))
    return not inner or own <= 1.3 * inner[len(inner) // 2]


# -- reading


def count(width: int, height: int) -> int:
    """About how many parts a picture of this size is read in."""
    if not is_cut(width, height):
        return 1
    across, down = part_length(min(height, PART_SIDE)), part_length(min(width, PART_SIDE))
    return max(1, round(height / down)) * (max(1, round(width / across)) if width > WHOLE_SIDE else 1)


async def read(engine: Engine, page: PageImage, options: Options) -> AsyncIterator[Piece]:
    """As ``engine.read``, for pages of any shape: the parts' texts behind each other, boxes in pixels of the page."""
    if page.text_layer or not is_cut(*page.image.size):
        async with aclosing(engine.read(page, options)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
        return
    parts = await asyncio.to_thread(cut, page.image)
    joined = Joined(page)
    while parts:
        joined.begin(parts.pop(0))
        async with aclosing(engine.read(joined.part_image, options)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                for out in joined.take(piece):
                    yield out
        if joined.is_from_the_end and parts:
            parts, joined = parts[::-1], joined.turned_round()
            yield Restarted("orientation")
    for out in joined.finish():
        yield out
    yield joined.page()


class Joined:
    """The page as it grows, part by part."""

    def __init__(self, page: PageImage, last: tuple[Part, PageRead] | None = None) -> None:
        self._page, self._last = page, last
        self._part = Part(page.image, 0, 0)
        self._reads: list[PageRead] = []
        self._markdown = ""
        self._blocks: list[PageBlock] = []
        self._figures: list[FigureCrop] = []
        self._begun = False  # some text of this part has gone out

    @property
    def part_image(self) -> PageImage:
        return PageImage(self._page.number, self._part.image)

    @property
    def is_from_the_end(self) -> bool:
        """The first part with text stands on its head, or its top is on the right: the page begins with the last."""
        return self._last is None and len(self._reads) == 1 and self._reads[0].quarters in (2, 3)

    def turned_round(self) -> Joined:
        """The page begun anew from its other end; the part that was read comes last, and is not read again."""
        return Joined(self._page, (self._part, self._reads[0]))

    def begin(self, part: Part) -> None:
        self._part, self._begun = part, False

    def take(self, piece: Piece) -> list[Piece]:
        """What goes on to the reader of the page for one piece of the part's."""
        if isinstance(piece, str):
            return [self._text(piece)] if piece else []
        if isinstance(piece, Restarted):
            self._begun = False  # the whole page is void for its reader: what is settled is said again
            return [piece, *([self._markdown] if self._markdown else [])]
        self._end(piece)
        return []

    def _text(self, text: str) -> str:
        lead = "" if self._begun else self._lead(text)
        self._begun = True
        return lead + self._renamed(text)

    def _lead(self, text: str) -> str:
        """A space where a paragraph goes on behind the cut, else an empty line."""
        if not self._markdown:
            return ""
        goes_on = self._part.tight and text[:1].islower() and not _SENTENCE_END.search(self._markdown)
        return " " if goes_on and self._blocks and self._blocks[-1].type == "text" else "\n\n"

    def _renamed(self, text: str) -> str:
        """Figures are numbered through the page."""
        if not self._figures or "images/" not in text:
            return text
        first = len(self._figures)
        return _FIGURE.sub(lambda found: f"images/{figure_name(self._page.number, first + int(found[1]))}", text)

    def _end(self, read: PageRead) -> None:
        self._reads.append(read)
        if not read.markdown:
            return
        lead = self._lead(read.markdown)
        blocks = [self._placed(block, read) for block in read.blocks]
        if lead == " " and blocks and blocks[0].type == "text":
            blocks[0] = _merged(self._blocks.pop(), blocks[0])
        self._markdown += lead + self._renamed(read.markdown)
        self._blocks += blocks
        first = len(self._figures)
        self._figures += [
            FigureCrop(figure_name(self._page.number, first + i), self._box(figure.bbox, read), figure.jpeg)
            for i, figure in enumerate(read.figures)
        ]

    def _placed(self, block: PageBlock, read: PageRead) -> PageBlock:
        return block.model_copy(update={"bbox": self._box(block.bbox, read), "text": self._renamed(block.text)})

    def _box(self, box: Box, read: PageRead) -> Box:
        """A box of the part on the page as it was given; where the engine turned the part, that is undone."""
        x0, y0, x1, y1 = unturned(box, self._part.image.size, read.quarters)
        return x0 + self._part.x, y0 + self._part.y, x1 + self._part.x, y1 + self._part.y

    def finish(self) -> list[Piece]:
        """The text of the part that was read first and comes last."""
        if self._last is None:
            return []
        part, read = self._last
        self.begin(part)
        out = self.take(read.markdown)
        self._end(read)
        return out

    def page(self) -> PageRead:
        """The whole page, once every part has been read."""
        reads = [read for read in self._reads if read.status != PageStatus.SKIPPED]
        worst = max((read for read in reads if read.status == PageStatus.DEGRADED), key=_missing, default=None)
        return PageRead(
            self._markdown,
            tuple(self._blocks),
            tuple(self._figures),
            worst.status if worst else PageStatus.OK if reads else PageStatus.SKIPPED,
            worst.reason if worst else None if reads else "blank",
            max((read.attempts for read in self._reads), default=1),
            sum((read.usage for read in self._reads), Usage()),
            missing=sum(read.missing for read in reads) / len(reads) if reads else 0.0,
        )


def _missing(read: PageRead) -> float:
    return read.missing


def _merged(before: PageBlock, after: PageBlock) -> PageBlock:
    """One paragraph of the two halves that a cut parted."""
    (a0, b0, a1, b1), (c0, d0, c1, d1) = before.bbox, after.bbox
    box = (min(a0, c0), min(b0, d0), max(a1, c1), max(b1, d1))
    return before.model_copy(update={"bbox": box, "text": f"{before.text} {after.text}"})


def unturned(box: Box, size: tuple[int, int], quarters: int) -> Box:
    """A box on a picture of ``size`` that was measured after so many clockwise quarter turns of it."""
    (x0, y0, x1, y1), (width, height) = box, size
    if quarters == 1:
        return y0, height - x1, y1, height - x0
    if quarters == 2:
        return width - x1, height - y1, width - x0, height - y0
    return (width - y1, x0, width - y0, x1) if quarters == 3 else box
