"""The vision encoder over the views of many pages at once, for the model's ``embed_multimodal``.

vLLM encodes page by page and expects every page in the mode of the process. Here the views of a step are grouped by
size and encoded together, so modes mix freely, and 8-bit views become the model's numbers on the device. Also takes
what vLLM's own processor makes (its profiling run does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch

from deepseek_ocr.modes import GUNDAM, MAX_TILES, MODES, PATCH, TILE, grids
from deepseek_ocr.tiling import MEAN, STD

Towers = Callable[[torch.Tensor], torch.Tensor]
"""[B, 3, S, S] -> [B, tokens, width]: see ``towers``."""

PAGE_PATCHES = MAX_TILES * (TILE // PATCH) ** 2
"""Of the tiles of a page, at most: what the towers take at once is counted in these."""


def embed(model: Any, towers: Towers, pages_at_once: int, **kwargs: Any) -> list[torch.Tensor] | None:
    """For each page its tokens' vectors: the tile grid, the whole page, the separator.

    ``model`` has the vectors of the separator and the newline. ``pages_at_once`` bounds the memory it takes.
    """
    if kwargs.get("pixel_values") is None:
        return None
    wholes = list(kwargs["pixel_values"])
    grids = [tuple(map(int, torch.as_tensor(grid).flatten().tolist())) for grid in kwargs["images_spatial_crop"]]
    counts = [columns * rows if columns * rows > 1 else 0 for columns, rows in grids]
    tiles, dtype = list(kwargs["images_crop"])[: sum(counts)], model.image_newline.dtype
    encoded = iter(encode(towers, tiles, dtype, pages_at_once))
    pages = zip(encode(towers, wholes, dtype, pages_at_once), grids, counts, strict=True)
    return [_page(model, whole, list(islice(encoded, count)), grid) for whole, grid, count in pages]


def encode(towers: Towers, views: list[torch.Tensor], dtype: torch.dtype, pages_at_once: int) -> list[torch.Tensor]:
    """The vectors of each view, ``side * side`` of them; views of one size are encoded together."""
    done: dict[int, torch.Tensor] = {}
    for size in {_side(view) for view in views}:
        chosen = [index for index, view in enumerate(views) if _side(view) == size]
        for chunk in _chunks(chosen, views_at_once(size, pages_at_once)):
            encoded = towers(normalise(torch.stack([views[index] for index in chunk]), dtype))
            done.update(zip(chunk, encoded, strict=True))
    return [done[index] for index in range(len(views))]


def shapes_of_one_page() -> list[tuple[int, int]]:
    """Side and number of the views that are encoded together for a page alone, over all modes and grids."""
    tiles = [(TILE, count) for count in sorted({columns * rows for columns, rows in grids()})]
    return [*((mode.base, 1) for mode in MODES.values() if mode is not GUNDAM), *tiles]


def views_at_once(size: int, pages_at_once: int) -> int:
    """How many views of ``size`` pixels have the patches of the tiles of ``pages_at_once`` pages."""
    return max(1, pages_at_once * PAGE_PATCHES // (size // PATCH) ** 2)


def normalise(views: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """8-bit rows of pixels as the model's numbers, bit for bit what the reference processor makes of them."""
    if views.dtype != torch.uint8:
        return views.to(dtype)
    return views.permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD).to(dtype)


def _page(model: Any, whole: torch.Tensor, tiles: list[torch.Tensor], grid: tuple[int, ...]) -> torch.Tensor:
    parts = [_with_newlines(model, _square(whole)), model.view_seperator[None, :]]
    if tiles:
        parts.insert(0, _with_newlines(model, _joined(tiles, *grid)))
    return torch.cat(parts)


def _joined(tiles: list[torch.Tensor], columns: int, rows: int) -> torch.Tensor:
    """The tiles' vectors as one picture: rows x columns x dim."""
    squares = [_square(tile) for tile in tiles]
    return torch.cat([torch.cat(squares[row * columns : (row + 1) * columns], dim=1) for row in range(rows)])


def _with_newlines(model: Any, picture: torch.Tensor) -> torch.Tensor:
    rows, _, dim = picture.shape
    return torch.cat((picture, model.image_newline[None, None, :].expand(rows, 1, dim)), dim=1).flatten(0, 1)


def _square(vectors: torch.Tensor) -> torch.Tensor:
    side = round(vectors.shape[0] ** 0.5)
    return vectors.view(side, side, -1)


def _side(view: torch.Tensor) -> int:
    return int(view.shape[1])


def _chunks(items: list[int], size: int) -> Iterable[list[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
