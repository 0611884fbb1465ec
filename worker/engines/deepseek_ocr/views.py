"""A page's picture as the bytes the engine gets: runs in the preprocessing processes and imports nothing heavy.

Layout of the bytes: the whole-page view (base x base x 3), then the tiles one after the other (tile x tile x 3 each):
8-bit RGB, rows of pixels. The numbers become the model's on the device (``encoder``), half the bytes on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap

from PIL import Image

from deepseek_ocr.modes import Grid, Mode
from deepseek_ocr.tiling import tiles, whole
from worker.pixels import CHANNELS


@dataclass(frozen=True, slots=True)
class ViewLayout:
    """The views of one page in ``mode``, cut into ``grid``."""

    mode: Mode
    grid: Grid

    @property
    def size(self) -> int:
        """Bytes of the views."""
        return CHANNELS * (self.mode.base**2 + self.tile_count * (self.mode.tile or 0) ** 2)

    @property
    def tile_count(self) -> int:
        return 0 if self.grid == (1, 1) else self.grid[0] * self.grid[1]

    def write(self, image: Image.Image, memory: mmap) -> None:
        """Write the views at the position of ``memory``."""
        memory.write(whole(image, self.mode).tobytes())
        for tile in tiles(image, self.mode, self.grid):
            memory.write(tile.tobytes())
