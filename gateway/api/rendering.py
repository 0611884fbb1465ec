"""From a job's pages to a response in some format: small results whole, large ones as they are written."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.api.filenames import content_disposition
from gateway.api.responses import NO_STORE, NoStoreResponse
from gateway.corrections import Corrected, corrected
from gateway.formats.layout import Layout
from gateway.formats.registry import ResultFormat
from gateway.formats.source import Source
from shared.contract.document import PageResult
from shared.contract.job import StoredJob
from shared.errors import OCRError
from shared.store.jobs import Store

logger = logging.getLogger(__name__)

Pages = Callable[[], AsyncIterator[Sequence[PageResult]]]
PIECE_BYTES: Final = 256 * 1024
"""Of a piece that is sent, at least; a result that is smaller is sent whole, with its Content-Length."""


def document_source(store: Store, job: StoredJob, corrections: Mapping[int, Corrected], layout: Layout) -> Source:
    """The whole document, with its corrections: page -> block -> text."""

    async def pages() -> AsyncIterator[Sequence[PageResult]]:
        async for some in store.pages_in_turn(job.id):
            yield [corrected(page, corrections[page.number]) if page.number in corrections else page for page in some]

    return _source(store, job, layout, pages, "images/")


def page_source(store: Store, job: StoredJob, page: PageResult, layout: Layout) -> Source:
    """One page, as a document of its own."""

    async def pages() -> AsyncIterator[Sequence[PageResult]]:
        yield [page]

    return _source(store, job, layout, pages, "../images/")


def _source(store: Store, job: StoredJob, layout: Layout, pages: Pages, images: str) -> Source:
    return Source(
        job_id=job.id,
        engine=job.engine or "",
        pages=pages,
        figures=lambda some: store.figures_in_turn(job.id, some),
        picture=lambda number: store.page_image(job.id, number),
        layout=layout,
        images=images,
    )


async def rendered(store: Store, job: StoredJob, source: Source, result_format: ResultFormat) -> Response:
    """The result in this format.

    What can fail of a large one is looked at before its first byte is sent; should it fail nevertheless, the
    connection is cut, so that nobody takes the part for the whole.
    """
    headers = {**result_format.headers, "Vary": "Accept"}
    if result_format.disposition is not None:
        name = f"{job.input.filename.rpartition('.')[0] or job.input.filename}.{result_format.name}"
        headers["Content-Disposition"] = content_disposition(name, result_format.disposition)
    pieces = _large_pieces(result_format.pieces(source))
    first = await anext(pieces, b"")
    if len(first) < PIECE_BYTES:
        return NoStoreResponse(first, headers=headers, media_type=result_format.content_type)
    await store.refuse_missing(job.id, figures=result_format.has_figures)
    return ResultStream(first, pieces, headers, result_format.content_type)


async def _large_pieces(pieces: AsyncIterator[str | bytes]) -> AsyncGenerator[bytes]:
    """The same in pieces of ``PIECE_BYTES`` or more, but for the last."""
    held = bytearray()
    async for piece in pieces:
        held += piece.encode() if isinstance(piece, str) else piece
        if len(held) >= PIECE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class ResultStream(StreamingResponse):
    """A result as it is written. Whoever leaves early ends the writing, too."""

    def __init__(
        self, first: bytes, rest: AsyncGenerator[bytes], headers: Mapping[str, str], media_type: str
    ) -> None:  # fmt: skip
        super().__init__(_chained(first, rest), headers={**NO_STORE, **headers}, media_type=media_type)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except OCRError as error:
            logger.warning("a result was cut off: %s", error)
            raise
        finally:
            await self._rest.aclose()


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
