"""Low load with a fault every twenty seconds: ``python -m benchmarks.soak_faults --minutes 30``.

The stack of the chaos runs, jobs that are kept for a few seconds only. At the end, with nothing broken: the resident
memory of every process that was not started anew, from a third of the way to the end, and its slope there; whether
every loop lives; and the store key by key against what it held before: everything a job left must have expired.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak import slope
from shared.errors import StoreUnavailable
from shared.store.connect import connect
from shared.store.jobs import Store
from tests.chaos.__main__ import dead_loops, settle
from tests.chaos.checker import drift, left_behind
from tests.chaos.clients import Clients
from tests.chaos.faults import FAULTS, Breaker
from tests.chaos.plan import Planned, plan
from tests.chaos.stack import ChaosStack
from tools.processes import Process

MIB = 2**20
FAULT_SECONDS = 20.0
JOB_SECONDS = 1.0
SAMPLE_SECONDS = 5
KEPT_SECONDS = 5  # a finished job; twice that its record
RATE_SECONDS = 100  # the counts of pages per ten seconds are kept for 90
TTLS: dict[str, Any] = {"result_ttl": KEPT_SECONDS, "idempotency_ttl": KEPT_SECONDS, "webhook_ttl": KEPT_SECONDS}
RESTORED_WITHIN = 330.0  # kombu looks every 10 s for messages to give back; a lock of one that died lasts 300
# Deaths are for the chaos runs: here every process is to live to the end, so that its memory can be followed.
PASSING = [name for name in FAULTS if "kill -9" not in name and "TERM" not in name and "paused" not in name]
PASSING += ["store kill -9"]
NAMED = re.compile(rb"[0-9A-Z]{26}|[0-9a-f]{8,}(?:-[0-9a-f]+)*|\d+")


async def census(store: Store) -> Counter[str]:
    """How many keys there are of each kind; ids and numbers in names do not tell them apart."""
    return Counter([NAMED.sub(b"N", key).decode() async for key in store.redis.scan_iter(count=1000)])


async def lasting(store: Store) -> Counter[str]:
    """Of the ``census``, the keys that never expire."""
    keys = [key async for key in store.redis.scan_iter(count=1000)]
    return Counter([NAMED.sub(b"N", key).decode() for key in keys if await store.redis.ttl(key) == -1])


async def give_messages_back(store: Store) -> None:
    """As after the visibility timeout of an hour: kombu gives back what a lost connection had taken without a word."""
    for tag in await store.redis.zrange("unacked_index", 0, -1):
        await store.redis.zadd("unacked_index", {tag: 0.0})
    ends = time.monotonic() + RESTORED_WITHIN
    while await store.redis.exists("unacked") and time.monotonic() < ends:
        await asyncio.sleep(1)


async def load(clients: Clients, until: float, ended: Counter[str]) -> None:
    rng, number = random.Random(7), 0
    while time.monotonic() < until:
        number += 1
        job = plan(rng, 1, 0)[0]
        job = Planned(f"soak-{number}", job.seeds[:3], follow=job.follow, webhook=job.webhook, pdf=job.pdf)
        began = time.monotonic()
        await clients.serve(job)
        if job.follow == "events":
            await clients.follow(job)
        ended[job.follow] += 1
        await asyncio.sleep(max(0.0, JOB_SECONDS - (time.monotonic() - began)))


async def break_things(stack: ChaosStack, until: float) -> None:
    breaker = Breaker(stack, PASSING)
    while time.monotonic() < until:
        began = time.monotonic()
        await breaker.break_something()
        await asyncio.sleep(max(0.0, FAULT_SECONDS - (time.monotonic() - began)))


async def sample(stack: ChaosStack, series: dict[Process, list[float]]) -> None:
    while True:
        for process in stack.processes:
            with suppress(psutil.Error):
                series.setdefault(process, []).append(psutil.Process(process.pid).memory_info().rss / MIB)
        await asyncio.sleep(SAMPLE_SECONDS)


def print_memory(stack: ChaosStack, series: dict[Process, list[float]], pids: dict[Process, int]) -> None:
    """``series``: MiB of each process, sampled; ``pids``: as they were at the start."""
    for process, sizes in series.items():
        settled = sizes[len(sizes) // 3 :]
        per_hour = slope([(SAMPLE_SECONDS * place / 3600, size) for place, size in enumerate(settled)])
        same = "" if process.pid == pids[process] else ", started anew"
        print(f"  {stack.name(process):10} {settled[0]:7.1f} -> {settled[-1]:7.1f} MiB, most {max(sizes):7.1f}, "
              f"{per_hour:+.1f} MiB an hour{same}; least of each fifth {least_of_parts(sizes, 5)}")  # fmt: skip


def least_of_parts(sizes: list[float], parts: int) -> str:
    """What is always held: between two collections of Python's and two returns of the allocator's, memory goes up."""
    bounds = [len(sizes) * part // parts for part in range(parts + 1)]
    return " ".join(f"{min(sizes[begin:end]):.1f}" for begin, end in pairwise(bounds) if end > begin)


async def come_to_rest(stack: ChaosStack, store: Store, clients: Clients) -> list[str]:
    """Nothing is broken any more, and whatever is kept for a while has had its time; the loops that are dead."""
    stack.mend()
    await settle(stack, store)
    await asyncio.sleep(3 * KEPT_SECONDS)
    dead = await dead_loops(stack, clients)
    await give_messages_back(store)
    await asyncio.sleep(RATE_SECONDS)
    return dead


async def soak(minutes: float, folder: Path) -> bool:
    stack = await ChaosStack.start(folder, random.Random(1), None, None, **TTLS)
    redis = connect(stack.valkey.url, patient=True)
    store, clients = Store(redis, stack.settings), Clients(stack, random.Random(2))
    try:
        await stack.ready()
        pids = {process: process.pid for process in stack.processes}
        await clients.serve(Planned("first", (1,), webhook=True))  # makes its owner's secret
        await asyncio.sleep(3 * KEPT_SECONDS)
        before, lasted, until = await census(store), await lasting(store), time.monotonic() + 60 * minutes
        keeper = asyncio.create_task(stack.keep_running())
        series: dict[Process, list[float]] = {}
        sampling = asyncio.create_task(sample(stack, series))
        ended: Counter[str] = Counter()
        await asyncio.gather(break_things(stack, until), load(clients, until, ended))
        dead = await come_to_rest(stack, store, clients)
        with suppress(StoreUnavailable):
            after, stay = await census(store), await lasting(store) - lasted
            found = await drift(store) + await left_behind(store)
        keeper.cancel()
        sampling.cancel()
    finally:
        await stack.stop()
        await redis.aclose()
        await clients.http.aclose()
    print(f"{minutes:g} minutes, {sum(ended.values())} jobs ({dict(ended)}), {stack.counts.total()} faults")
    print("  faults: " + ", ".join(f"{name} x{count}" for name, count in sorted(stack.counts.items())))
    print("  answers: " + ", ".join(f"{status} x{count}" for status, count in sorted(clients.statuses.items())))
    print_memory(stack, series, pids)
    print(f"  ended by themselves: {stack.exits or 'none'}; loops dead: {dead or 'none'}")
    print(f"  wrong answers: {clients.wrong[:5] or 'none'}; drift and keys left: {found or 'none'}")
    print(f"  keys gone {dict(before - after) or 'none'}; keys more {dict(after - before) or 'none'}")
    print(f"  of these never expire: {dict(stay) or 'none'}")
    return not (stack.exits or dead or clients.wrong or found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.soak_faults")
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"  logs: {folder}")
    sys.exit(0 if asyncio.run(soak(args.minutes, folder)) else 1)


if __name__ == "__main__":
    main()
