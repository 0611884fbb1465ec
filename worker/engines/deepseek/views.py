"""A page's picture as the bytes the engine gets: runs in the preprocessing processes and imports nothing heavy.

Layout of the bytes: the whole-page view (base x base x 3), then the tiles one after the other (tile x tile x 3 each):
8-bit RGB, rows of pixels. The numbers become the model's on the device (``vision``), half the bytes on the way.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from deepseek_ocr.modes import MODES, Grid, Mode
from deepseek_ocr.tiling import tiles, whole
from worker import pixels
from worker.engines.blank import is_blank
from worker.engines.deepseek.parent import die_with_parent


@dataclass(frozen=True, slots=True)
class Picture:
    """A page in a file of shared memory: ``width`` x ``height`` pixels from ``begin``, its views from ``offset``."""

    path: str
    begin: int
    width: int
    height: int
    offset: int
    mode: str


def views_size(mode: Mode, grid: Grid) -> int:
    """Bytes of the views of a page cut into ``grid``."""
    return pixels.CHANNELS * (mode.base**2 + tile_count(grid) * (mode.tile or 0) ** 2)


def tile_count(grid: Grid) -> int:
    return 0 if grid == (1, 1) else grid[0] * grid[1]


def write_views(picture: Picture) -> bool:
    """Write the views beside the picture; False for a blank page, which needs none."""
    with Path(picture.path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        image = pixels.read(memory, picture.begin, picture.width, picture.height)
        if is_blank(image):
            return False
        _write(memory, picture.offset, image, MODES[picture.mode])
    return True


def _write(memory: mmap.mmap, offset: int, image: Image.Image, mode: Mode) -> None:
    memory.seek(offset)
    memory.write(whole(image, mode).tobytes())
    for tile in tiles(image, mode, mode.grid(*image.size)):
        memory.write(tile.tobytes())


def start_process(parent: int) -> None:
    """What a preprocessing process does first."""
    die_with_parent(parent)


def ready(_: int) -> int:
    """An answer that shows that a process has started: its id."""
    return os.getpid()
