"""Reading results: from the payload store what the record names there, from Redis what lies in the record itself."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from shared.contract.document import Page
from shared.errors import NotFound, PayloadMissing
from shared.payloads.base import PayloadStore
from shared.payloads.names import PICTURE, RESULT, PagePayloads, page_name
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.keyspace import Counter

T = TypeVar("T")

AT_ONCE: Final = 16
"""Payloads of one reader that are read side by side."""
FIGURE: Final = re.compile(r"(\d{1,7})_\d{1,7}\.jpg", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A picture or a figure that is handed out in pieces. ``tag``: another for other bytes. ``size``: bytes.

    ``stream``: the bytes from a first up to, not including, an end.
    """

    tag: str
    size: int
    stream: Callable[[int, int], AsyncIterator[bytes]]


class ResultReader:
    """Raises ``PayloadMissing`` for what a record names and the payload store has not, and counts it."""

    def __init__(self, redis: Client, payloads: PayloadStore | None) -> None:
        self.redis = redis
        self.payloads = payloads

    async def pages(self, job_id: str) -> list[Page]:
        """The pages that have ended, by number."""
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.hvals(keyspace.PAGES(job_id))
                pipe.hgetall(keyspace.PAGE_PAYLOADS(job_id))
                inline, stored = await pipe.execute()
        named = {number: its for number, its in _page_payloads(stored).items() if its.result}
        found = await side_by_side(lambda one: self._payload(job_id, one[0], one[1], RESULT), named.items())
        pages = (Page.model_validate_json(page) for page in [*inline, *found])
        return sorted(pages, key=lambda page: page.number)

    async def page(self, job_id: str, number: int) -> Page | None:
        found = await self._of_page(job_id, number, keyspace.PAGES(job_id), str(number), RESULT)
        return Page.model_validate_json(found) if found else None

    async def page_image(self, job_id: str, number: int) -> bytes | None:
        """The page's picture as the engine saw it (WebP), or None where none was kept."""
        return await self._of_page(job_id, number, keyspace.PAGE_IMAGES(job_id), str(number), PICTURE)

    async def figures(self, job_id: str, pages: Sequence[Page] | None = None) -> dict[str, bytes]:
        """Every figure of these pages (None: of all): name -> JPEG."""
        pages = await self.pages(job_id) if pages is None else pages
        numbered = {figure.name: page.number for page in pages for figure in page.figures}
        with store_errors():
            stored = _page_payloads(await self.redis.hgetall(keyspace.PAGE_PAYLOADS(job_id)))

        async def one(name: str) -> bytes | None:
            its = stored.get(numbered[name])
            return await (self._figure_in_record(job_id, name) if its is None else self._figure(job_id, its, name))

        found = await side_by_side(one, numbered)
        return {name: jpeg for name, jpeg in zip(numbered, found, strict=True) if jpeg is not None}

    async def figure(self, job_id: str, name: str) -> bytes | None:
        number = FIGURE.fullmatch(name)
        if number is None:
            return None
        its = await self.page_payloads(job_id, int(number[1]))
        if its is None:
            return await self._figure_in_record(job_id, name)
        page = await self.page(job_id, int(number[1]))
        if page is None or name not in {figure.name for figure in page.figures}:
            return None
        return await self._figure(job_id, its, name)

    async def picture_part(self, job_id: str, number: int) -> StoredPart | None:
        """As ``page_image``, in pieces."""
        its = await self.page_payloads(job_id, number)
        if its is not None and its.picture:
            return await self._part(job_id, number, its, PICTURE)
        return part_of(await self.page_image(job_id, number))

    async def figure_part(self, job_id: str, name: str) -> StoredPart | None:
        """As ``figure``, in pieces."""
        found = FIGURE.fullmatch(name)
        its = await self.page_payloads(job_id, int(found[1])) if found else None
        if found is None or its is None:
            return part_of(await self.figure(job_id, name))
        page = await self.page(job_id, int(found[1]))
        if page is None or name not in {figure.name for figure in page.figures}:
            return None
        return await self._part(job_id, page.number, its, name)

    async def _part(self, job_id: str, number: int, its: PagePayloads, part: str) -> StoredPart:
        name, payloads = page_name(job_id, its.token, number, part), self.payloads
        try:
            if payloads is None:
                raise PayloadMissing
            size = (await payloads.about(name)).size
        except PayloadMissing:
            await self._missing(job_id, number)
            raise PayloadMissing(f"{part} of page {number} has disappeared from the payload store") from None
        return StoredPart(_tag(name.encode()), size, lambda start, end: payloads.stream(name, start, end))

    async def page_payloads(self, job_id: str, number: int) -> PagePayloads | None:
        """What of the page lies in the payload store."""
        with store_errors():
            found = await self.redis.hget(keyspace.PAGE_PAYLOADS(job_id), str(number))
        return PagePayloads.of(found.decode()) if found else None

    async def _figure_in_record(self, job_id: str, name: str) -> bytes | None:
        with store_errors():
            found: bytes | None = await self.redis.hget(keyspace.FIGURES(job_id), name)
        return found

    async def _figure(self, job_id: str, its: PagePayloads, name: str) -> bytes:
        return await self._payload(job_id, int(name.partition("_")[0]), its, name)

    async def _of_page(self, job_id: str, number: int, key: str, field: str, part: str) -> bytes | None:
        """A part of the page, wherever it lies; None where the page has none."""
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.hget(key, field)
                pipe.hget(keyspace.PAGE_PAYLOADS(job_id), str(number))
                inline, stored = await pipe.execute()
        its = PagePayloads.of(stored.decode()) if stored else None
        if inline or its is None or not (its.result if part == RESULT else its.picture):
            return inline or None
        return await self._payload(job_id, number, its, part)

    async def _payload(self, job_id: str, number: int, its: PagePayloads, part: str) -> bytes:
        name = page_name(job_id, its.token, number, part)
        try:
            if self.payloads is None:
                raise PayloadMissing
            return await self.payloads.get(name)
        except PayloadMissing:
            await self._missing(job_id, number)
            raise PayloadMissing(f"{part} of page {number} has disappeared from the payload store") from None

    async def _missing(self, job_id: str, number: int) -> None:
        """Count it. Raises ``NotFound`` where the job was deleted, or has expired, while its payload was looked for."""
        with store_errors():
            if not await self.redis.hexists(keyspace.PAGE_PAYLOADS(job_id), str(number)):
                raise NotFound("There is no such job")
        await count_missing(self.redis)


def part_of(data: bytes | None) -> StoredPart | None:
    """What is in memory already, as a part."""
    if data is None:
        return None

    async def stream(start: int, end: int) -> AsyncIterator[bytes]:
        yield data[start:end]

    return StoredPart(_tag(data), len(data), stream)


def _tag(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]


async def count_missing(redis: Client) -> None:
    """One more payload was not there although a record names it."""
    with store_errors():
        await redis.hincrby(keyspace.COUNTERS(), Counter.PAYLOADS_MISSING, 1)


def _page_payloads(stored: Mapping[bytes, bytes]) -> dict[int, PagePayloads]:
    return {int(number): PagePayloads.of(text.decode()) for number, text in stored.items()}


S = TypeVar("S")


async def side_by_side(ask: Callable[[S], Awaitable[T]], things: Iterable[S]) -> list[T]:
    """``ask`` of each thing, in their order, a few at once."""
    answers: list[T] = []
    waiting = list(things)
    for at in range(0, len(waiting), AT_ONCE):
        answers += await asyncio.gather(*map(ask, waiting[at : at + AT_ONCE]))
    return answers
