"""Tables and figures: which of the layout hints hold, which lines they take, and what stands for them in the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from worker.engines.cpu.layout import Hint
from worker.engines.cpu.lines import Line, Row, is_leftwards, line_height, rows, same_row, union
from worker.engines.cpu.tables import Cells, grid, is_table

SURE = 0.6
MOST = 0.6
"""A region with more of the page's lines than this is the page itself: its text stays text."""

MOST_GROWN = 50
WRITTEN_LINES = 5
TEXT_SHARE = 0.3
"""A region with more of its area under lines of text than this is no picture."""


@dataclass(frozen=True, slots=True)
class Region:
    kind: str  # table or figure
    box: tuple[float, float, float, float]
    lines: tuple[Line, ...]
    cells: Cells = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


def inside(line: Line, hint: Hint, slack: float) -> bool:
    """Whether a line's middle lies in a region. Its own place counts, not the levelled one: hints see the page."""
    x0, y0, x1, y1 = line.box
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return hint.x0 - slack < x < hint.x1 + slack and hint.y0 - 0.3 * slack < y < hint.y1 + 0.3 * slack


def find_regions(lines: Sequence[Line], hints: Sequence[Hint], size: tuple[int, int]) -> list[Region]:
    """Surest first; no line is in two regions."""
    found: list[Region] = []
    slack = line_height(lines) if lines else 0.0
    for hint in hints:
        if hint.score < SURE or hint.label not in ("table", "figure"):
            continue
        taken = {id(line) for region in found for line in region.lines}
        own = [line for line in lines if id(line) not in taken and inside(line, hint, slack)]
        if hint.label == "table":
            own = grown(own, [line for line in lines if id(line) not in taken and not line.turned])
        if region := (as_table(own) if hint.label == "table" else as_figure(hint, own, lines, size)):
            found.append(region)
    return found


def grown(own: Sequence[Line], lines: Sequence[Line]) -> list[Line]:
    """A table with what the hint left out: cells under or above its own, and rows whose cells stand like its own."""
    found = list(own)
    for _ in range(MOST_GROWN if own else 0):
        inside_now = {id(line) for line in found}
        free = [line for line in lines if id(line) not in inside_now]
        more = [line for line in free if any(same_row(line, other) for other in found) and stands_like(line, found)]
        more = more or next_row(found, free)
        if not more:
            break
        found.extend(more)
    return found


def stands_like(line: Line, table: Sequence[Line]) -> bool:
    """Whether a line begins or ends where a cell of the table does."""
    slack = 0.5 * line.height
    return any(abs(line.x0 - cell.x0) < slack or abs(line.x1 - cell.x1) < slack for cell in table)


def next_row(table: Sequence[Line], free: Sequence[Line]) -> list[Line]:
    """The row right above or below, if two of its cells or more stand like the table's."""
    top, bottom = min(line.y0 for line in table), max(line.y1 for line in table)
    near = [line for line in free if line.y0 > bottom - line.height / 2 or line.y1 < top + line.height / 2]
    near = [line for line in near if max(line.y0 - bottom, top - line.y1) < line.height]
    for row in rows(near):
        like = [piece for piece in row.pieces if stands_like(piece, table)]
        if len(like) >= 2 and len(like) == len(row.pieces):
            return like
    return []


def as_table(own: Sequence[Line]) -> Region | None:
    if len(own) < 4:
        return None
    before, cells = grid(own)
    if not is_table(cells):
        return None
    above = {id(piece) for row in before for piece in row.pieces}
    body = tuple(line for line in own if id(line) not in above)
    return Region("table", union(line.box for line in body), body, cells)


def as_figure(hint: Hint, own: Sequence[Line], lines: Sequence[Line], size: tuple[int, int]) -> Region | None:
    area = (hint.x1 - hint.x0) * (hint.y1 - hint.y0)
    written = sum(line.width * line.height for line in own)
    if is_text(own):
        return None
    too_small = min(hint.x1 - hint.x0, hint.y1 - hint.y0) < 0.02 * max(size)
    if too_small or written > TEXT_SHARE * area or (own and len(own) > MOST * len(lines)):
        return None
    return Region("figure", (hint.x0, hint.y0, hint.x1, hint.y1), tuple(own))


def is_text(lines: Sequence[Line]) -> bool:
    """Whether the writing in a picture is a text of its own, and not its labels: many lines, most at one left edge."""
    if len(lines) < WRITTEN_LINES or sum(len(line.text) for line in lines) < WRITTEN_LINES * 8:
        return False
    edge, height = median(line.x0 for line in lines), line_height(lines)
    return sum(abs(line.x0 - edge) < 0.7 * height for line in lines) >= 0.6 * len(lines)


def stand_in(region: Region, index: int, mirror: float | None) -> Line:
    """One line that takes the region's place while the reading order is found. ``mirror``: the width of a page whose
    lines are mirrored."""
    boxes = [(line.x0, line.y0, line.x1, line.y1) for line in region.lines]
    if region.kind == "figure":
        x0, y0, x1, y1 = region.box
        boxes.append((x0, y0, x1, y1) if mirror is None else (mirror - x1, y0, mirror - x0, y1))
    return Line(*union(boxes), "x" * 40, region.box, index)


def with_stand_ins(lines: Sequence[Line], regions: Sequence[Region], width: float) -> list[Line]:
    """The lines outside the regions, and one for each region; ``width``: the page's."""
    taken = {id(line) for region in regions for line in region.lines}
    free = [line for line in lines if id(line) not in taken]
    mirror = width if is_leftwards(lines) else None
    return free + [stand_in(region, i, mirror) for i, region in enumerate(regions)]


def label_of(row: Row, hints: Sequence[Hint], least: float = 0.5) -> str | None:
    """What the layout model says of a row: the smallest sure region around its first piece."""
    around = [hint for hint in hints if hint.score >= least and inside(row.pieces[0], hint, 0.3 * row.height)]
    if not around:
        return None
    return min(around, key=lambda hint: (hint.x1 - hint.x0) * (hint.y1 - hint.y0)).label
