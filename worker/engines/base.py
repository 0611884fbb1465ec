"""The engine interface: a page image goes in, pieces of text come out as they are made, then the page.

An engine module offers ``async def load(settings) -> Engine`` and, where it has settings of its own, ``SETTINGS``: the
subclass of ``worker.settings.EngineSettings`` that ``load`` gets. One line in ``worker.engines.REGISTRY`` names it, or
``ENGINE=module:load``. It is built on the pool's event loop, in ``worker_process_init``, and every call comes from that
loop. It must pass ``tests/engines/`` (the suite that every engine passes).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from PIL.Image import Image

from shared.contract.document import Box, PageBlock, PageStatus, Shortfall, Usage
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A line of a PDF's own text, or a part of one: ``box`` is its place in pixels of the picture."""

    text: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PageImage:
    """One page as the engine gets it, or a part of a page too long or large to be read at once (``engines.parts``).

    ``image``: RGB, EXIF-upright, alpha on paper, at most the pixel cap of the settings; the engine must not change it.
    ``text_layer``: the text the PDF itself carries for this page, where that was asked for (``text_layer=prefer``) and
    accounts for what is drawn; else None.
    ``shortfall``: what the picture itself lacks of the page; an engine need not look at it, the worker adds it.
    """

    number: int
    image: Image
    text_layer: tuple[TextPiece, ...] | None = None
    shortfall: Shortfall | None = None


@dataclass(frozen=True, slots=True)
class Restarted:
    """Everything streamed so far for this page is void; it is read again. ``reason``: repetition, length, …"""

    reason: str


@dataclass(frozen=True, slots=True)
class FigureCrop:
    """A figure cut out of ``PageImage.image``; ``name`` is ``figure_name(page, i)``, ``jpeg`` its bytes."""

    name: str
    bbox: Box
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PageRead:
    """What the engine made of one page: the last item of the stream.

    ``upright`` is the image the boxes are measured on where the engine had to turn the page (else None: as given), and
    ``quarters`` says how often it was turned clockwise.
    ``status`` is ``ok``, ``degraded`` (text kept; ``reason`` says what is wrong, ``missing`` how much) or ``skipped``
    (blank: there is nothing to read in the picture). Text that was seen and not read is never left out in silence.
    ``attempts`` counts the engine's own tries. Failure is an exception: ``InferenceError`` for this page alone,
    ``EngineDead`` when no page can be read any more.
    """

    markdown: str
    blocks: tuple[PageBlock, ...] = ()
    figures: tuple[FigureCrop, ...] = ()
    status: PageStatus = PageStatus.OK
    reason: str | None = None
    attempts: int = 1
    usage: Usage = field(default_factory=Usage)
    upright: Image | None = field(default=None, repr=False)
    quarters: int = 0
    missing: float = 0.0

    def admitting(self, shortfall: Shortfall | None) -> PageRead:
        """The page with what is known to be lost of it; of two losses the larger one is named."""
        if shortfall is None or (self.status == PageStatus.DEGRADED and self.missing >= shortfall.missing):
            return self
        return replace(self, status=PageStatus.DEGRADED, reason=shortfall.reason, missing=shortfall.missing)


Piece = str | Restarted | PageRead


EngineStatus = EngineStatus
"""The former name, for engines outside this repository, for one release."""


class Engine(Protocol):
    def read(self, page: PageImage, options: Options) -> AsyncIterator[Piece]:
        """Read one page: yields text as it is made, then exactly one ``PageRead``, last.

        Closing the iterator (or cancelling the task that consumes it) frees the page's slot within a second.
        Raises ``InferenceError`` (this page only) or ``EngineDead``.
        """
        ...

    def describe(self) -> EngineStatus:
        """The engine's own report, cheap enough to be asked every second."""
        ...

    async def check(self) -> None:
        """Raise ``EngineDead`` if the engine can read no more pages."""
        ...

    async def close(self) -> None:
        """Free the model, its processes and the device's memory."""
        ...
