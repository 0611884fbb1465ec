"""The vision encoder over the views of many pages at once, for the model's ``embed_multimodal``.

vLLM encodes page by page and expects every page in the mode of the process. Here the views of a step are grouped by
size and encoded together, so modes mix freely, and 8-bit views become the model's numbers on the device. Also takes
what vLLM's own processor makes (its profiling run does).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch

from deepseek_ocr.tiling import MEAN, STD

REFERENCE = 1024
"""A whole-page view of this side counts as one page."""


def embed(model: Any, pages_at_once: int, **kwargs: Any) -> list[torch.Tensor] | None:
    """For each page its tokens' vectors: the tile grid, the whole page, the separator."""
    if kwargs.get("pixel_values") is None:
        return None
    wholes = list(kwargs["pixel_values"])
    grids = [tuple(map(int, torch.as_tensor(grid).flatten().tolist())) for grid in kwargs["images_spatial_crop"]]
    counts = [columns * rows if columns * rows > 1 else 0 for columns, rows in grids]
    tiles = list(kwargs["images_crop"])[: sum(counts)]
    encoded = iter(encode(model, tiles, pages_at_once))
    pages = zip(encode(model, wholes, pages_at_once), grids, counts, strict=True)
    return [_page(model, whole, list(islice(encoded, count)), grid) for whole, grid, count in pages]


def encode(model: Any, views: list[torch.Tensor], pages_at_once: int) -> list[torch.Tensor]:
    """The vectors of each view, ``side * side`` of them; views of one size are encoded together."""
    done: dict[int, torch.Tensor] = {}
    for size in {_side(view) for view in views}:
        chosen = [index for index, view in enumerate(views) if _side(view) == size]
        for chunk in _chunks(chosen, views_at_once(size, pages_at_once)):
            encoded = _features(model, torch.stack([views[index] for index in chunk]))
            done.update(zip(chunk, encoded, strict=True))
    return [done[index] for index in range(len(views))]


def views_at_once(size: int, pages_at_once: int) -> int:
    """How many views of ``size`` pixels take the memory of ``pages_at_once`` whole pages: attention is quadratic."""
    return max(1, int(pages_at_once * (REFERENCE / size) ** 4))


def normalise(views: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """8-bit rows of pixels as the model's numbers, bit for bit what the reference processor makes of them."""
    if views.dtype != torch.uint8:
        return views.to(dtype)
    return views.permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD).to(dtype)


def _features(model: Any, views: torch.Tensor) -> torch.Tensor:
    pixels = normalise(views, model.image_newline.dtype)
    sam = model.sam_model(pixels)
    clip = model.vision_model(pixels, sam)
    both = torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1)
    return model.projector(both)


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
