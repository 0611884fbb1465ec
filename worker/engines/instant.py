"""The instant engine: answers without a model, for tests and load runs.

Its text is a function of the picture alone (size and a digest of the pixels), so that a result can be checked against
the upload whatever happened in between. ``instant_seconds`` is how long a page takes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import ClassVar

from PIL import Image
from pydantic import Field

from shared.contract.document import PageBlock, PageStatus, Usage
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus
from worker.engines.base import PageImage, PageRead, Piece
from worker.settings import EngineSettings

SLOTS = 256


class InstantSettings(EngineSettings):
    """Read by the instant engine."""

    operational: ClassVar[frozenset[str]] = frozenset({"instant_seconds"})

    instant_seconds: float = Field(0.0, ge=0, description="seconds the instant engine takes for a page")


SETTINGS = InstantSettings


def answer(image: Image.Image) -> str:
    """The text that the instant engine reads in a picture."""
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    return f"# A page of {image.width} x {image.height} pixels\n\nsha256 {digest[:32]}"


def is_plain(image: Image.Image) -> bool:
    """One colour all over: the page is blank."""
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


class InstantEngine:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reading = 0

    async def read(self, page: PageImage, _options: Options) -> AsyncIterator[Piece]:
        self._reading += 1
        try:
            async for piece in self._read(page):
                yield piece
        finally:
            self._reading -= 1

    async def _read(self, page: PageImage) -> AsyncIterator[Piece]:
        if is_plain(page.image):
            yield PageRead("", status=PageStatus.SKIPPED, reason="blank")
            return
        text = "\n\n".join(piece.text for piece in page.text_layer or ()) or answer(page.image)
        paragraphs = text.split("\n\n")
        for i, paragraph in enumerate(paragraphs):
            if self._seconds:
                await asyncio.sleep(self._seconds / len(paragraphs))
            yield paragraph if i == 0 else "\n\n" + paragraph
        box = (0, 0, page.image.width, page.image.height)
        blocks = tuple(PageBlock(type="title" if p.startswith("#") else "text", bbox=box, text=p) for p in paragraphs)
        usage = Usage(completion_tokens=len(text.split()), engine_seconds=self._seconds)
        yield PageRead(text, blocks, usage=usage)

    def describe(self) -> EngineStatus:
        state = "busy" if self._reading else "ready"
        return EngineStatus("instant", "instant", SLOTS, state=state, metrics={"reading": self._reading})

    async def check(self) -> None:
        """It cannot die."""

    async def close(self) -> None:
        """It holds nothing."""


async def load(settings: InstantSettings) -> InstantEngine:
    return InstantEngine(settings.instant_seconds)
