"""What the second model says of itself: see ``vllm_host.model.VisionModel``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from PIL import Image

from shared.contract.options import Options
from worker.engines.base import PageImage
from worker.engines.vllm_host.model import PreparedPage, SamplePage

PROMPT = "<image>\nFree OCR."


@dataclass(frozen=True, slots=True)
class Pixels:
    """The page itself, as vLLM's own preprocessing wants it."""

    width: int
    height: int

    @property
    def size(self) -> int:
        return self.width * self.height * 3

    def write(self, image: Image.Image, memory: mmap) -> None:
        memory.write(image.tobytes())


class PlainText:
    """The model's words are the page's text."""

    blocks, figures = (), ()

    def __init__(self) -> None:
        self.markdown = ""

    def feed(self, delta: str) -> str:
        self.markdown += delta
        return delta

    def finish(self) -> str:
        return ""


class SameTokenGuard:
    """A loop is ``tokens`` equal tokens."""

    def __init__(self, tokens: int = 200) -> None:
        self._tokens, self._ids = tokens, list[int]()

    def feed(self, ids: Sequence[int], text: str) -> bool:
        self._ids = [*self._ids, *ids][-self._tokens :]
        return len(self._ids) == self._tokens and len(set(self._ids)) == 1


class SecondModel:
    def __init__(self, tokenizer: Any) -> None:
        self._prompt = [0, *tokenizer.encode(PROMPT, add_special_tokens=False)]
        self._image = self._prompt[1]
        self.tokenizer = tokenizer

    def request(self, options: Options) -> str:
        return options.prompt or PROMPT

    def layout(self, request: str, width: int, height: int) -> Pixels:
        return Pixels(width, height)

    def first(self, request: str) -> str:
        return request

    def retries(self, request: str, reason: str) -> Iterator[str]:
        return iter(())

    def engine_input(self, attempt: str, page: PreparedPage) -> dict[str, Any]:
        pixels = page.memory[page.offset : page.offset + page.layout.size]
        image = Image.frombytes("RGB", (page.layout.width, page.layout.height), pixels)
        return {"prompt_token_ids": list(self._prompt), "multi_modal_data": {"image": image}}

    def sampling(self, attempt: str) -> dict[str, Any]:
        return {"temperature": 0.0}

    def reader(self, page: PageImage, request: str, attempt: str) -> PlainText:
        return PlainText()

    def covers_page(self, request: str) -> bool:
        return False

    def guard(self, **limits: Any) -> SameTokenGuard:
        return SameTokenGuard(**limits)

    def check_tokenizer(self) -> None:
        if len(self.tokenizer.encode("<image>", add_special_tokens=False)) != 1:
            raise ValueError("the tokenizer has no token <image>")

    def sample_pages(self) -> list[SamplePage]:
        return [SamplePage(PROMPT, 300, 300), SamplePage(PROMPT, 700, 900)]

    def check_prompt(self, page: SamplePage, ids: Sequence[int]) -> None:
        if ids[0] != 0 or list(ids).count(self._image) < 200:
            raise ValueError(f"a prompt begins {ids[:2]} and has {list(ids).count(self._image)} tokens of picture")

    def loop_token(self) -> int:
        token: int = self.tokenizer.encode("a", add_special_tokens=False)[0]
        return token
