"""Text on its way to the store: gathered, in order, nothing after the flush left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from shared.store.jobs import Store
from tools.uploads import submit
from worker.claims import Claim, Claims
from worker.event_buffer import EventBuffer


class CountedClaims(Claims):
    """``writes``: the events of every write."""

    def __init__(self, claims: Claims) -> None:
        super().__init__(claims.redis, claims.settings, claims.worker)
        self.writes: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream(self, claim: Claim, events: Sequence[Any]) -> bool:
        await self.gate.wait()
        written = await super().stream(claim, events)
        self.writes.append(list(events))
        return written


@pytest.fixture
def counted(claims: Claims) -> CountedClaims:
    return CountedClaims(claims)


async def claimed(store: Store, claims: Claims) -> Claim:
    claim = await claims.claim(await submit(store, b"upload", "application/pdf", 3), "t")
    assert claim is not None
    return claim


async def repeated(step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await step()


async def told(store: Store, claim: Claim) -> list[tuple[str, Any]]:
    events = (await store.events(claim.job.id))[1:]
    return [(event.name, event.event.payload().get("text", event.event.payload().get("reason"))) for event in events]


async def test_pieces_of_a_page_that_wait_together_are_one_event(store: Store, counted: CountedClaims) -> None:
    claim = await claimed(store, counted)
    buffer = EventBuffer(counted)
    for piece in ("a", "b", "c"):
        buffer.text(claim, 1, piece)
    buffer.text(claim, 2, "x")
    buffer.text(claim, 1, "d")
    await buffer.flush(claim.job.id)
    assert await told(store, claim) == [("token", "abc"), ("token", "x"), ("token", "d")]
    assert len(counted.writes) == 1


async def test_text_after_a_restart_is_an_event_of_its_own(store: Store, counted: CountedClaims) -> None:
    claim = await claimed(store, counted)
    buffer = EventBuffer(counted)
    buffer.text(claim, 1, "void")
    buffer.restarted(claim, 1, "length")
    buffer.text(claim, 1, "good")
    await buffer.flush(claim.job.id)
    assert await told(store, claim) == [("token", "void"), ("page.restarted", "length"), ("token", "good")]


async def test_a_flush_waits_for_the_write_that_is_under_way(store: Store, counted: CountedClaims) -> None:
    """Else a page's end could overtake the text that the loop is just writing."""
    claim = await claimed(store, counted)
    buffer = EventBuffer(counted)
    loop = asyncio.create_task(repeated(buffer.step))
    counted.gate.clear()
    buffer.text(claim, 1, "first")
    await asyncio.sleep(0.01)  # the loop has taken it and waits at the gate
    flush = asyncio.create_task(buffer.flush(claim.job.id))
    await asyncio.sleep(0.01)
    assert not flush.done()
    counted.gate.set()
    await flush
    assert await told(store, claim) == [("token", "first")]
    loop.cancel()


async def test_the_loop_writes_every_jobs_text_without_a_flush(store: Store, counted: CountedClaims) -> None:
    first, second = await claimed(store, counted), await claimed(store, counted)
    buffer = EventBuffer(counted)
    loop = asyncio.create_task(repeated(buffer.step))
    buffer.text(first, 1, "one")
    buffer.text(second, 1, "two")
    async with asyncio.timeout(10):
        while len(counted.writes) < 2:
            await asyncio.sleep(0.005)
        buffer.text(first, 1, "more")
        while len(counted.writes) < 3:
            await asyncio.sleep(0.005)
    loop.cancel()
    assert [await told(store, claim) for claim in (first, second)] == [
        [("token", "one"), ("token", "more")],
        [("token", "two")],
    ]


async def test_what_is_forgotten_is_not_written(store: Store, counted: CountedClaims) -> None:
    claim = await claimed(store, counted)
    buffer = EventBuffer(counted)
    buffer.text(claim, 1, "never")
    buffer.forget(claim.job.id)
    await buffer.flush(claim.job.id)
    assert counted.writes == []
