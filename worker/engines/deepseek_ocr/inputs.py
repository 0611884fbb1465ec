"""A prompt and a page's views as the input vLLM's engine takes: token ids, tensors, and where the picture goes.

Rendered here rather than by vLLM, which does it in one thread, for one mode, from text in which special tokens count.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import torch
from vllm.multimodal.inputs import (
    MultiModalFieldConfig,
    MultiModalKwargsItem,
    MultiModalKwargsItems,
    PlaceholderRange,
)

from deepseek_ocr.modes import TILE
from deepseek_ocr.tokens import BOS, GROUNDING, IMAGE, MARKUP, REF, REF_END
from shared.errors import BadPrompt, PromptTooLong
from worker.engines.vllm_host.model import PreparedPage
from worker.pixels import CHANNELS

ALLOWED = (GROUNDING, REF, REF_END)
"""Special tokens a prompt may hold besides its one picture."""

ROOM = 1024
"""Tokens that must be left for the answer."""


class Inputs:
    """Builds engine inputs with one tokenizer. Raises ValueError if it is not the model's."""

    def __init__(self, tokenizer: Any, max_model_len: int) -> None:
        self._tokenizer, self._max_model_len = tokenizer, max_model_len
        self._tokens: dict[str, int] = {}
        self._bos, self._image = self.token(BOS), self.token(IMAGE)
        self._forbidden = {self.token(text) for text in MARKUP if text not in ALLOWED}
        self._prompts: dict[str, list[int]] = {}

    def token(self, text: str) -> int:
        """The id of one special token, by its text."""
        if text not in self._tokens:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
            if len(ids) != 1:
                raise ValueError(f"the tokenizer has no token {text}: its files are not DeepSeek-OCR's")
            self._tokens[text] = int(ids[0])
        return self._tokens[text]

    def tokens(self, texts: Iterable[str]) -> list[int]:
        return [self.token(text) for text in texts]

    def round_trip(self, text: str) -> str:
        """``text`` as it comes back from the tokenizer."""
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def prompt_ids(self, prompt: str) -> list[int]:
        """Ids of what follows the picture. Raises BadPrompt if a special token hides in it."""
        words = prompt.removeprefix(IMAGE)
        if (known := self._prompts.get(words)) is not None:
            return known
        ids = [int(i) for i in self._tokenizer.encode(words, add_special_tokens=False)]
        if self._forbidden.intersection(ids):
            raise BadPrompt("The prompt holds one of the model's special tokens")
        if len(self._prompts) < 1000:
            self._prompts[words] = ids
        return ids

    def ids(self, prompt: str, picture_tokens: int) -> list[int]:
        """BOS, one placeholder for each token of the picture, the prompt. Raises PromptTooLong."""
        words = self.prompt_ids(prompt)
        if 1 + picture_tokens + len(words) + ROOM > self._max_model_len:
            raise PromptTooLong(f"The prompt takes {len(words)} tokens, which leaves too few for the answer")
        return [self._bos, *[self._image] * picture_tokens, *words]

    def engine_input(self, prompt: str, page: PreparedPage) -> dict[str, Any]:
        """What ``AsyncLLM.generate`` takes as a rendered input."""
        count = page.layout.mode.tokens_of(page.layout.grid)
        return {
            "type": "multimodal",
            "prompt_token_ids": self.ids(prompt, count),
            "mm_kwargs": MultiModalKwargsItems({"image": [_item(page)]}),
            "mm_hashes": {"image": [uuid.uuid4().hex]},  # pages are never the same: nothing is looked up
            "mm_placeholders": {"image": [PlaceholderRange(offset=1, length=count)]},
        }


def _item(page: PreparedPage) -> MultiModalKwargsItem:
    layout = page.layout
    base, tile, count = layout.mode.base, layout.mode.tile or TILE, layout.tile_count
    whole = _tensor(page, 0, (1, base, base, CHANNELS))
    tiles = _tensor(page, whole.numel(), (count, tile, tile, CHANNELS))
    batched, on_cpu = MultiModalFieldConfig.batched("image"), MultiModalFieldConfig.batched("image", keep_on_cpu=True)
    flat = MultiModalFieldConfig.flat("image", [slice(0, count)])
    return MultiModalKwargsItem(
        {
            "pixel_values": _elem(batched, "pixel_values", whole),
            "images_crop": _elem(flat, "images_crop", tiles),
            "images_spatial_crop": _elem(on_cpu, "images_spatial_crop", torch.tensor([layout.grid])),
        }
    )


def _elem(config: MultiModalFieldConfig, key: str, data: torch.Tensor) -> Any:
    (element,) = config.build_elems(key, data)
    return element


def _tensor(page: PreparedPage, start: int, shape: tuple[int, ...]) -> torch.Tensor:
    size = shape[0] * shape[1] * shape[2] * shape[3]
    if not size:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(page.memory, dtype=torch.uint8, count=size, offset=page.offset + start).view(shape)
