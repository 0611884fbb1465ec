"""Resolution modes: which views of a page the model sees, and how many tokens they take.

A *view* is a square of ``size`` pixels; its 16-pixel patches are compressed 16 times (4 on each side). A row of view
tokens ends with a newline token, the whole ends with one separator token. Order: tile grid, whole page, separator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

PATCH = 16
COMPRESSION = 4
MIN_TILES = 2
MAX_TILES = 6
TILE = 640

Grid = tuple[int, int]
"""Tiles of a page: columns, rows. ``(1, 1)``: no tiles, the whole-page view alone."""


@dataclass(frozen=True, slots=True)
class Mode:
    """``base``: side of the whole-page view in pixels; ``tile``: side of a tile, None for a mode without tiles.

    ``squash``: the page is stretched to the view instead of padded (the small modes, as the authors do it).
    """

    name: str
    base: int
    tile: int | None = None
    squash: bool = False

    def grid(self, width: int, height: int) -> Grid:
        """Tiles of a page of ``width`` x ``height`` pixels."""
        if self.tile is None or (width <= self.tile and height <= self.tile):
            return (1, 1)
        return closest_grid(width, height, self.tile)

    def tokens(self, width: int, height: int) -> int:
        """Placeholder tokens of a page of ``width`` x ``height`` pixels."""
        return self.tokens_of(self.grid(width, height))

    def tokens_of(self, grid: Grid) -> int:
        """Placeholder tokens of a page cut into ``grid``."""
        side = view_side(self.base)
        whole = side * (side + 1) + 1
        if grid == (1, 1) or self.tile is None:
            return whole
        columns, rows = grid
        tile_side = view_side(self.tile)
        return whole + rows * tile_side * (columns * tile_side + 1)

    @property
    def max_tokens(self) -> int:
        """The most placeholder tokens a page can take in this mode."""
        return max(self.tokens_of(grid) for grid in grids()) if self.tile else self.tokens_of((1, 1))


TINY = Mode("tiny", 512, squash=True)
SMALL = Mode("small", 640, squash=True)
BASE = Mode("base", 1024)
LARGE = Mode("large", 1280)
GUNDAM = Mode("gundam", 1024, tile=TILE)

MODES = {mode.name: mode for mode in (TINY, SMALL, BASE, LARGE, GUNDAM)}
DEFAULT = GUNDAM


def view_side(size: int) -> int:
    """Tokens on one side of a view of ``size`` pixels: 512 -> 8, 640 -> 10, 1024 -> 16, 1280 -> 20."""
    return ceil(size // PATCH / COMPRESSION)


@lru_cache(maxsize=1)
def grids() -> tuple[Grid, ...]:
    """The 13 grids of 2 to 6 tiles, fewest tiles first (among equals the order never decides)."""
    pairs = ((columns, rows) for columns in range(1, MAX_TILES + 1) for rows in range(1, MAX_TILES + 1))
    return tuple(sorted((p for p in pairs if MIN_TILES <= p[0] * p[1] <= MAX_TILES), key=lambda p: p[0] * p[1]))


def closest_grid(width: int, height: int, tile: int) -> Grid:
    """The grid whose shape is nearest to the page's; on a tie the later one if the page has half its pixels."""
    wanted = width / height
    best, distance = (1, 1), float("inf")
    for columns, rows in grids():
        off = abs(wanted - columns / rows)
        large_enough = width * height > 0.5 * tile * tile * columns * rows
        if off < distance or (off == distance and large_enough):
            best, distance = (columns, rows), off
    return best
