"""What a format is made from, and how: page by page, so that no document is in memory whole."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.formats.layout import Layout
from shared.contract.document import PageResult


@dataclass(frozen=True, slots=True)
class Source:
    """Everything a format may be made from. ``layout``: what the caller wants in the text.

    ``pages``: by number, a few at a time, from the first one on each time it is called.
    ``figures``: name and JPEG of every figure of these pages, in their order. ``picture``: a page's as WebP, by its
    number. ``images``: where the figures are found, relative to the result's URL.
    """

    job_id: str
    engine: str
    pages: Callable[[], AsyncIterator[Sequence[PageResult]]]
    figures: Callable[[Sequence[PageResult]], AsyncIterator[tuple[str, bytes]]]
    picture: Callable[[int], Awaitable[bytes | None]]
    layout: Layout = field(default_factory=Layout)
    images: str = "images/"


class PageWriter(ABC):
    """Writes one document as text, page by page. What it returns, put together in order, is the text."""

    def begin(self) -> str:
        """What stands before the pages."""
        return ""

    @abstractmethod
    def page(self, page: PageResult) -> str:
        """What can be written now that this page is known; some of it may have to wait for the next."""

    def end(self) -> str:
        """What is left."""
        return ""


def written(writer: PageWriter, pages: Iterable[PageResult]) -> str:
    """The whole text of a document that is in memory already."""
    return "".join([writer.begin(), *map(writer.page, pages), writer.end()])


async def text_pieces(writer: PageWriter, source: Source) -> AsyncIterator[str]:
    """The text of a document in pieces. A few pages take a while to write, so that is done in a thread."""
    yield writer.begin()
    async for pages in source.pages():
        yield await asyncio.to_thread(_together, writer, pages)
    yield writer.end()


def _together(writer: PageWriter, pages: Sequence[PageResult]) -> str:
    return "".join(map(writer.page, pages))
