"""The faults: each breaks one thing for a while and mends it, so that the stack can always recover."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.exceptions import RedisError

from tools.processes import Gateway, Process, Worker
from tools.valkey import Valkey

LEASE = 3.0


class ChaosStack:
    """Everything that runs, and what keeps it running (a worker that dies by poison is started again)."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        data = folder / "valkey"
        data.mkdir()
        self.valkey = Valkey(data)
        url = self.valkey.url
        # Workers are killed every few seconds here: three deaths are no proof against a page.
        common = {
            "page_attempts": 6,
            "lease": LEASE,
            "requeue_after": 5,
            "instant_seconds": 0.15,
            "drain_seconds": 5,
            "jobs_in_flight": 16,
        }
        engines = ("tests.engines.fixtures.kills_on_page:load", "tests.engines.fixtures.an_hour_off:load")
        self.workers = [
            Worker(folder, url, f"worker-{i}", engine=engine, pages_in_flight=8, **common)
            for i, engine in enumerate(engines)
        ]
        self.gateway = Gateway(folder, url)
        self.busy: set[Process] = set()  # down on purpose
        self.counts: dict[str, int] = {}

    async def keep_running(self) -> None:
        while True:
            for process in (*self.workers, self.gateway):
                if not process.alive and process not in self.busy:
                    process.start()
            await asyncio.sleep(0.2)

    async def break_something(self) -> None:
        name, fault = self.rng.choice(FAULTS)
        self.counts[name] = self.counts.get(name, 0) + 1
        await fault(self)

    def one_worker(self) -> Worker:
        return self.rng.choice(self.workers)

    async def down(self, process: Process, seconds: float) -> None:
        """Killed, and away for a while."""
        self.busy.add(process)
        try:
            await asyncio.to_thread(process.kill)
            await asyncio.sleep(seconds)
            process.start()
        finally:
            self.busy.discard(process)

    async def frozen(self, process: Process | Valkey, seconds: float) -> None:
        process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in (*self.workers, self.gateway):
            process.signal(signal.SIGCONT)
            process.kill()
        self.valkey.signal(signal.SIGCONT)
        self.valkey.stop()


async def worker_killed(stack: ChaosStack) -> None:
    await stack.down(stack.one_worker(), stack.rng.uniform(0, 1))


async def worker_frozen_then_killed(stack: ChaosStack) -> None:
    """Redis may have handed it a message that it never wrote down."""
    worker = stack.one_worker()
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(stack.rng.uniform(0.2, 1))
    await stack.down(worker, 0)


async def worker_paused_beyond_its_lease(stack: ChaosStack) -> None:
    await stack.frozen(stack.one_worker(), LEASE + stack.rng.uniform(0.5, 2))


async def worker_stopped(stack: ChaosStack) -> None:
    worker = stack.one_worker()
    stack.busy.add(worker)
    try:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.popen.wait, 40)
        worker.start()
    finally:
        stack.busy.discard(worker)


async def gateway_killed(stack: ChaosStack) -> None:
    await stack.down(stack.gateway, stack.rng.uniform(0, 0.5))


async def redis_killed(stack: ChaosStack) -> None:
    await asyncio.to_thread(stack.valkey.stop)
    await asyncio.sleep(stack.rng.uniform(0, 1.5))
    await asyncio.to_thread(stack.valkey.start)


async def redis_frozen(stack: ChaosStack) -> None:
    await stack.frozen(stack.valkey, stack.rng.uniform(1, 6))


async def connections_reset(stack: ChaosStack) -> None:
    await asyncio.to_thread(stack.valkey.client.client_kill_filter, _type="normal", skipme=True)


async def message_delivered_twice(stack: ChaosStack) -> None:
    """Copies of what waits or is unacknowledged, as a broker may send them."""
    client = stack.valkey.client
    try:
        for message in client.lrange("ocr", 0, 3) + client.lrange("ocr\x06\x163", 0, 3):
            copy = json.loads(message)
            copy["properties"]["delivery_tag"] = f"copy-{stack.rng.random()}"
            client.lpush("ocr", json.dumps(copy))
    except RedisError:
        return  # another fault has Redis at this moment


FAULTS: list[tuple[str, Callable[[ChaosStack], Awaitable[None]]]] = [
    ("worker kill -9", worker_killed),
    ("worker frozen, then kill -9", worker_frozen_then_killed),
    ("worker paused beyond its lease", worker_paused_beyond_its_lease),
    ("worker TERM", worker_stopped),
    ("gateway kill -9", gateway_killed),
    ("redis kill -9", redis_killed),
    ("redis frozen", redis_frozen),
    ("connections reset", connections_reset),
    ("messages delivered twice", message_delivered_twice),
]
