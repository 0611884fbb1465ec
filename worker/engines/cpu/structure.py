"""From lines in reading order to blocks: first cut, one block per column."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from shared.document import Block, Box
from worker.engines.base import PageRead
from worker.engines.cpu.joining import escaped, row_text
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.lines import Line, union
from worker.engines.cpu.order import Column, columns


@dataclass(frozen=True, slots=True)
class Scene:
    """What was seen on a page; all places in pixels of ``image``."""

    number: int
    image: Image
    lines: list[Line]
    hints: list[Hint]


def clipped(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """Whole pixels inside the picture, at least one wide and high."""
    x0, y0 = min(max(0, int(box[0])), size[0] - 1), min(max(0, int(box[1])), size[1] - 1)
    return x0, y0, max(x0 + 1, min(size[0], round(box[2]))), max(y0 + 1, min(size[1], round(box[3])))


def compose(scene: Scene) -> PageRead:
    blocks = tuple(block_of(column, scene) for column in columns(scene.lines))
    return PageRead("\n\n".join(block.text for block in blocks), blocks)


def block_of(column: Column, scene: Scene) -> Block:
    box = union(piece.box for row in column.rows for piece in row.pieces)
    return Block(
        type="text", bbox=clipped(box, scene.image.size), text="  \n".join(escaped(row_text(r)) for r in column.rows)
    )
