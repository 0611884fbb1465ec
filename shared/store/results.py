"""Reading results: from the payload store what the record names there, from Redis what lies in the record itself."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from shared.contract.document import PageResult
from shared.errors import NotFound, PayloadMissing
from shared.payloads.base import PayloadStore
from shared.payloads.names import PICTURE, RESULT, PagePayloads
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.keyspace import Counter

T = TypeVar("T")

AT_ONCE: Final = 16
"""Payloads of one reader that are read side by side."""
FIGURES_AT_ONCE: Final = 4
"""Figures of one reader that are read side by side: each may be as large as its page."""
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

    async def pages(self, job_id: str) -> list[PageResult]:
        """The pages that have ended, by number."""
        return [page async for some in self.pages_in_turn(job_id) for page in some]

    async def pages_in_turn(self, job_id: str) -> AsyncIterator[list[PageResult]]:
        """The pages that have ended, by number, ``AT_ONCE`` at a time: no more of them are in memory here.

        Raises ``NotFound`` where the job was deleted, or has expired, meanwhile.
        """
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.hkeys(keyspace.PAGES(job_id))
                pipe.hgetall(keyspace.PAGE_PAYLOADS(job_id))
                inline, stored = await pipe.execute()
        named = {number: its for number, its in _page_payloads(stored).items() if its.result}
        for numbers in in_turn(sorted({*map(int, inline), *named})):
            found = await self._results_in_record(job_id, [number for number in numbers if number not in named])
            ours = [(number, named[number]) for number in numbers if number in named]
            found += await side_by_side(lambda one: self._payload(job_id, one[0], one[1], RESULT), ours)
            yield sorted(map(PageResult.model_validate_json, found), key=lambda page: page.number)

    async def _results_in_record(self, job_id: str, numbers: Sequence[int]) -> list[bytes]:
        if not numbers:
            return []
        with store_errors():
            found = await self.redis.hmget(keyspace.PAGES(job_id), [str(number) for number in numbers])
        if None in found:
            raise NotFound("There is no such job")
        return list(found)

    async def page(self, job_id: str, number: int) -> PageResult | None:
        found = await self._of_page(job_id, number, keyspace.PAGES(job_id), str(number), RESULT)
        return PageResult.model_validate_json(found) if found else None

    async def page_image(self, job_id: str, number: int) -> bytes | None:
        """The page's picture as the engine saw it (WebP), or None where none was kept."""
        return await self._of_page(job_id, number, keyspace.PAGE_IMAGES(job_id), str(number), PICTURE)

    async def figures(self, job_id: str, pages: Sequence[PageResult] | None = None) -> dict[str, bytes]:
        """Every figure of these pages (None: of all): name -> JPEG."""
        pages = await self.pages(job_id) if pages is None else pages
        return {name: jpeg async for name, jpeg in self.figures_in_turn(job_id, pages)}

    async def figures_in_turn(self, job_id: str, pages: Sequence[PageResult]) -> AsyncIterator[tuple[str, bytes]]:
        """Name and JPEG of every figure of these pages, in their order; ``FIGURES_AT_ONCE`` are in memory here."""
        numbered = [(page.number, figure.name) for page in pages for figure in page.figures]
        stored = await self._payloads_of(job_id, {number for number, _ in numbered})

        async def one(numbered: tuple[int, str]) -> bytes | None:
            number, name = numbered
            its = stored.get(number)
            return await (self._figure_in_record(job_id, name) if its is None else self._figure(job_id, its, name))

        for some in in_turn(numbered, FIGURES_AT_ONCE):
            for (_, name), jpeg in zip(some, await side_by_side(one, some), strict=True):
                if jpeg is not None:
                    yield name, jpeg

    async def _payloads_of(self, job_id: str, numbers: Collection[int]) -> dict[int, PagePayloads]:
        if not numbers:
            return {}
        with store_errors():
            found = await self.redis.hmget(keyspace.PAGE_PAYLOADS(job_id), [str(number) for number in numbers])
        return {
            number: PagePayloads.of(text.decode()) for number, text in zip(numbers, found, strict=True) if text
        }  # fmt: skip

    async def refuse_missing(self, job_id: str, *, figures: bool) -> None:
        """Raises ``PayloadMissing`` if the payload store lacks a result (``figures``: or a figure) of the job.

        For what is sent while it is read: once the first bytes are out, nobody can be told any more.
        """
        if self.payloads is None:
            return
        with store_errors():
            stored = _page_payloads(await self.redis.hgetall(keyspace.PAGE_PAYLOADS(job_id)))
        folders = {its.folder(job_id) for its in stored.values()}
        there = {payload.name for folder in folders async for payload in self.payloads.under(folder)}
        for number, its in stored.items():
            if its.result and its.name(job_id, number, RESULT) not in there:
                await self._is_missing(job_id, number, RESULT)
        if not figures:
            return
        async for pages in self.pages_in_turn(job_id):
            for number, name in ((page.number, figure.name) for page in pages for figure in page.figures):
                if number in stored and stored[number].name(job_id, number, name) not in there:
                    await self._is_missing(job_id, number, name)

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
        name, payloads = its.name(job_id, number, part), self.payloads
        try:
            if payloads is None:
                raise PayloadMissing
            size = (await payloads.about(name)).size
        except PayloadMissing:
            await self._is_missing(job_id, number, part)
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
        name = its.name(job_id, number, part)
        try:
            if self.payloads is None:
                raise PayloadMissing
            return await self.payloads.get(name)
        except PayloadMissing:
            await self._is_missing(job_id, number, part)

    async def _is_missing(self, job_id: str, number: int, part: str) -> NoReturn:
        """Count it, and raise ``PayloadMissing``.

        Raises ``NotFound`` where the job was deleted, or has expired, while its payload was looked for.
        """
        with store_errors():
            if not await self.redis.hexists(keyspace.PAGE_PAYLOADS(job_id), str(number)):
                raise NotFound("There is no such job")
        await count_missing(self.redis)
        raise PayloadMissing(f"{part} of page {number} has disappeared from the payload store") from None


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
    for some in in_turn(list(things)):
        answers += await asyncio.gather(*map(ask, some))
    return answers


def in_turn(things: Sequence[S], at_once: int = AT_ONCE) -> Iterator[Sequence[S]]:
    """The things, in their order, a few at a time."""
    for at in range(0, len(things), at_once):
        yield things[at : at + at_once]
