"""The rate limit, as the store's script counts it: a burst, then one request at a time, and nothing charged twice."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from shared.store.jobs import Store
from shared.store.scripts import Scripts
from tools.valkey import Valkey

COST, BURST = 10.0, 3  # seconds a request costs; requests at once


@pytest.fixture
def scripts(store: Store) -> Scripts:
    return Scripts(store.redis)


async def ask(scripts: Scripts, operation: str, owner: str = "o", quota: Any = "", **more: Any) -> list[Any]:
    return list(await scripts.run("rate", owner, more.get("cost", COST), more.get("burst", BURST), quota, operation))


async def test_a_burst_is_let_through_and_then_one_request_at_a_time(scripts: Scripts, valkey: Valkey) -> None:
    replies = [await ask(scripts, f"r{n}") for n in range(BURST)]
    assert [(reply[0], reply[1]) for reply in replies] == [(1, 2), (1, 1), (1, 0)]
    assert all(float(reply[2]) == 0 for reply in replies)
    assert [round(float(reply[3])) for reply in replies] == [10, 20, 30]
    refused = await ask(scripts, "r3")
    assert (refused[0], refused[1]) == (0, 0)
    assert 9 < float(refused[2]) <= 10
    assert 29 < float(refused[3]) <= 30
    assert 30_000 < valkey.client.pttl("rl:o") <= 31_000
    valkey.client.set("rl:o", f"{time.time() + 20:.6f}")
    assert (await ask(scripts, "r4"))[:2] == [1, 0]


async def test_a_refused_request_costs_nothing(scripts: Scripts, valkey: Valkey) -> None:
    for n in range(BURST):
        await ask(scripts, f"r{n}")
    before = valkey.client.get("rl:o")
    for n in range(5):
        assert (await ask(scripts, f"refused {n}"))[0] == 0
    assert valkey.client.get("rl:o") == before


async def test_a_request_that_comes_twice_is_charged_once_and_allowed_both_times(scripts: Scripts) -> None:
    for n in range(BURST):
        await ask(scripts, f"r{n}")
    again = await ask(scripts, "r0")
    assert (again[0], again[1], float(again[2])) == (1, 0, 0)
    assert 29 < float(again[3]) <= 30


async def test_the_latest_requests_are_remembered_for_a_minute_and_no_more_than_64(
    scripts: Scripts, valkey: Valkey
) -> None:
    for n in range(70):
        assert (await ask(scripts, f"r{n}", cost=0.001, burst=1000))[0] == 1
    key = "rl:/operations:o"
    assert (valkey.client.llen(key), valkey.client.lindex(key, 0)) == (64, b"r69")
    assert 55 < valkey.client.ttl(key) <= 60


async def test_callers_do_not_pay_for_each_other(scripts: Scripts) -> None:
    for n in range(BURST + 1):
        await ask(scripts, f"r{n}", owner="a")
    assert (await ask(scripts, "x", owner="b"))[:2] == [1, BURST - 1]


async def test_a_caller_that_was_silent_has_its_whole_burst_again_and_no_more(scripts: Scripts, valkey: Valkey) -> None:
    valkey.client.set("rl:o", "1.0")
    assert (await ask(scripts, "r0"))[:2] == [1, BURST - 1]


@pytest.mark.parametrize(("used", "left"), [(None, 5), (2, 3), (5, 0), (9, 0)])
async def test_the_pages_left_of_the_day_are_told(
    scripts: Scripts, valkey: Valkey, used: int | None, left: int
) -> None:
    seconds, _ = valkey.client.time()
    if used is not None:
        valkey.client.set(f"quota:o:{seconds // 86400}", used)
    reply = await ask(scripts, "r0", quota=5)
    assert reply[4] == left
    assert abs(reply[5] - (86400 - math.floor(seconds) % 86400)) <= 2
    assert (await ask(scripts, "r1"))[4] == b""
