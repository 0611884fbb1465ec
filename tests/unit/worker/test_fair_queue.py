from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from worker.fair_queue import FairQueue, FairQueueClosed


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


class Crowd:
    """Tasks that want into a gate, and the order in which they got in."""

    def __init__(self, gate: FairQueue) -> None:
        self.gate = gate
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def wants(self, key: str, times: int = 1, weight: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._enter(key, weight)) for _ in range(times)]

    async def _enter(self, key: str, weight: int) -> None:
        await self.gate.enter(key, weight)
        self.order.append(key)


async def test_jobs_take_turns_page_by_page() -> None:
    gate = FairQueue(1)
    crowd = Crowd(gate)
    await gate.enter("x")
    crowd.wants("big", 4)
    crowd.wants("small", 2)
    await settle()
    gate.leave("x")
    for _ in range(6):
        await settle()
        gate.leave(crowd.order[-1])
    assert crowd.order == ["big", "small", "big", "small", "big", "big"]


async def test_weight_is_the_share_of_the_turns() -> None:
    gate = FairQueue(1)
    crowd = Crowd(gate)
    await gate.enter("x")
    crowd.wants("low", 20, weight=1)
    crowd.wants("normal", 20, weight=4)
    await settle()
    gate.leave("x")
    for _ in range(20):
        await settle()
        gate.leave(crowd.order[-1])
    assert crowd.order[:20].count("normal") == 16


async def test_a_late_comer_does_not_catch_up_on_turns_it_never_waited_for() -> None:
    gate = FairQueue(1)
    crowd = Crowd(gate)
    crowd.wants("old", 50)
    await settle()
    for _ in range(20):
        gate.leave("old")
        await settle()
    crowd.wants("new", 10)
    await settle()
    for _ in range(6):
        gate.leave(crowd.order[-1])
        await settle()
    assert crowd.order[-6:].count("new") == 3


@pytest.mark.parametrize(("document", "others", "turns"), [(16, 1, 1), (4, 4, 2), (1, 16, 17)])
async def test_a_stream_of_newcomers_keeps_nobody_from_its_next_page(document: int, others: int, turns: int) -> None:
    gate = FairQueue(1)
    crowd = Crowd(gate)
    crowd.wants("document", 6, weight=document)
    await settle()
    for number in range(100):
        if number == 0 or crowd.order[-1] != "document":  # there is always one newcomer that waits
            crowd.wants(f"new {number}", weight=others)
            await settle()
        gate.leave(crowd.order[-1])
        await settle()
    places = [at for at, key in enumerate(crowd.order) if key == "document"]
    assert len(places) >= min(6, 100 // turns)
    assert max(b - a for a, b in pairwise(places)) <= turns


async def test_reserve_is_for_jobs_that_hold_nothing() -> None:
    gate = FairQueue(4, reserve=1)
    crowd = Crowd(gate)
    crowd.wants("big", 10)
    await settle()
    assert crowd.order == ["big"] * 3
    crowd.wants("small", 2)
    await settle()
    assert crowd.order == ["big"] * 3 + ["small"]


async def test_cancelled_waiter_leaves_no_trace_and_a_cancelled_winner_gives_its_place_back() -> None:
    gate = FairQueue(1)
    await gate.enter("a")
    waiting = asyncio.create_task(gate.enter("b"))
    await settle()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    winner = asyncio.create_task(gate.enter("c"))
    await settle()
    gate.leave("a")  # the turn is granted now, but the task has not run yet
    winner.cancel()
    with suppress(asyncio.CancelledError):
        await winner
    assert gate.free == 1
    assert not gate._passes


async def test_close_sends_away_who_waits_and_who_comes() -> None:
    gate = FairQueue(1)
    await gate.enter("a")
    waiting = asyncio.create_task(gate.enter("b"))
    await settle()
    gate.close()
    for entering in (waiting, gate.enter("c")):
        with pytest.raises(FairQueueClosed):
            await entering
    gate.leave("a")
    assert gate.free == 1


async def test_who_is_cancelled_just_after_the_close_never_had_a_place() -> None:
    gate = FairQueue(1)
    await gate.enter("a")
    waiting = asyncio.create_task(gate.enter("b"))
    await settle()
    gate.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate.free == 0
    gate.leave("a")
    assert gate.free == 1
    assert not gate._passes


async def test_a_job_that_waits_loses_no_turn_as_another_of_its_pages_comes() -> None:
    gate = FairQueue(3, reserve=1)
    crowd = Crowd(gate)
    for key in ("first", "second"):  # the last place is not for jobs that hold one
        await gate.enter(key)
        crowd.wants(key)
    await settle()
    for key in ("a", "b", "c"):
        await gate.enter(key)
        gate.leave(key)
    crowd.wants("first")
    await settle()
    gate.leave("first")
    await settle()
    assert crowd.order[0] == "first"


def test_reserve_must_leave_room() -> None:
    with pytest.raises(ValueError, match="reserve"):
        FairQueue(1, reserve=1)


async def test_a_job_that_comes_back_keeps_its_turn_and_of_equals_the_newcomer_goes_first() -> None:
    gate = FairQueue(2)
    crowd = Crowd(gate)
    for key in ("a", "b"):
        await gate.enter(key)
    for key in ("a", "b", "c"):
        crowd.wants(key)
    await settle()
    for key in ("b", "a", "a"):
        gate.leave(key)
        await settle()
    assert crowd.order == ["a", "c", "b"]


async def test_of_equals_the_one_let_in_longest_ago_goes_first() -> None:
    gate = FairQueue(2)
    crowd = Crowd(gate)
    for key in ("a", "b"):
        await gate.enter(key)
    crowd.wants("a")
    await settle()
    gate.leave("a")
    await settle()
    for key in ("a", "b"):
        crowd.wants(key)
    await settle()
    gate.leave("a")
    await settle()
    assert crowd.order == ["a", "b"]
