"""``python -m tests.chaos --seed 1 --jobs 100``: exits 1 unless every count is 0."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from redis import exceptions as redis_errors

from shared.errors import PayloadMissing, StoreUnavailable
from shared.store import keyspace
from shared.store.connect import connect
from shared.store.jobs import Store
from tests.chaos.checker import verdict
from tests.chaos.clients import Clients
from tests.chaos.faults import FAULTS, HOUR, OLD_FAULTS, Breaker
from tests.chaos.plan import Planned, learn, plan
from tests.chaos.stack import ChaosStack
from tools.s3_server import S3Server
from worker.payload_sweeper import PayloadSweeper

CALLERS = 6
FOLLOWERS = 40
PATIENCE = 150.0  # seconds the stack may take to end every job once the faults are over
FRESH = 10.0  # seconds: the age of a heartbeat file that is no reason to worry


async def call(clients: Clients, jobs: list[Planned], following: list[asyncio.Task[None]]) -> None:
    while jobs:
        job = jobs.pop()
        await clients.serve(job)
        if job.follow == "events":
            following.append(asyncio.create_task(clients.follow(job)))


async def break_things(stack: ChaosStack, submitting: asyncio.Future[list[None]], least: int) -> None:
    """A fault every one to three seconds while there are submissions, and at least so many."""
    breaker, done = Breaker(stack, OLD_FAULTS if stack.mixed else FAULTS), 0
    while not submitting.done() or done < least:
        await asyncio.sleep(stack.rng.uniform(1, 3))
        await breaker.break_something()
        done += 1


async def settle(stack: ChaosStack, store: Store) -> float:
    """Until no job is open and no webhook is due; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            if not await store.redis.zcard("open") and not await store.redis.zcard("hooks:due"):
                break
        except StoreUnavailable:
            pass  # it is just coming back
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def dead_loops(stack: ChaosStack, clients: Clients) -> list[str]:
    """Whoever does not live any more: by heartbeat files, and by one job through each gateway, live and to the end."""
    found = [
        f"{stack.name(process)} has not touched its file for {age:.0f} s"
        for process in (*stack.workers, *stack.senders)
        if (age := stack.heartbeat_age(process)) > FRESH
    ]
    for number, gateway in enumerate(stack.gateways):
        await asyncio.to_thread(gateway.wait_ready)  # on a busy machine one that was killed may be starting still
        job = Planned(f"last-{number}", (900_000 + number,), follow="call")
        clients.url = lambda path, its=gateway.url: f"{its}/api/v1{path}"  # type: ignore[method-assign, misc]
        await clients.serve(job)
        if job.streamed is None:
            found.append(f"{stack.name(gateway)} streams no more: {job.refused}")
    return found


async def keep_events(store: Store) -> None:
    """The checker reads the events of every job at the end; the service would have deleted them by then."""
    while True:
        with contextlib.suppress(redis_errors.RedisError, OSError):
            due = await store.redis.zrange(keyspace.CLEANUPS(), 0, -1)
            later = {entry: time.time() + 2 * HOUR for entry in due if entry.startswith(b"events ")}
            if later:
                await store.redis.zadd(keyspace.CLEANUPS(), later)
        await asyncio.sleep(1)


async def holes(store: Store, planned: list[Planned]) -> list[str]:
    """Pictures that a record names and nobody finds, once everything that no record names is swept up."""
    if store.payloads is None:
        return []
    sweeper = PayloadSweeper(store.redis, store.payloads, "chaos", orphan_age=0)
    await sweeper.clean_up()
    later = await store.payloads.now() + 1
    swept = sum([await sweeper.sweep(store.payloads, folder, later) for folder in await store.payloads.folders()])
    print(f"  payloads that no record named: {swept}")
    found = []
    for job in [await store.job(job_id) for one in planned for job_id in one.ids]:
        for page in (page for page in job.pages if page.status == "ok"):
            try:
                assert await store.page_image(job.id, page.number), "a page without a picture"
            except PayloadMissing as error:
                found.append(f"{job.id}: {error}")
    return found


def webhooks_lost(stack: ChaosStack, planned: list[Planned]) -> list[str]:
    return [
        f"{job.name} {job.ids[0]}"
        for job in planned
        if job.webhook
        and job.ids
        and not any(call.id.startswith(f"msg_{job.ids[0]}") for call in stack.receiver.at(f"/{job.name}"))
    ]


async def submit_all(
    planned: list[Planned], rng: random.Random, stack: ChaosStack, clients: Clients, faults: int
) -> list[asyncio.Task[None]]:
    """Submit every job while things break, then mend what is broken; the tasks that follow the jobs' events."""
    queue = list(planned)
    rng.shuffle(queue)
    following: list[asyncio.Task[None]] = []
    submitting = asyncio.gather(*(call(clients, queue, following) for _ in range(CALLERS)))
    await break_things(stack, submitting, faults)
    await submitting
    stack.mend()
    return following


async def end_streams(following: list[asyncio.Task[None]], clients: Clients) -> None:
    if following:
        _, late = await asyncio.wait(following, timeout=60)
        for task in late:
            task.cancel()
            clients.wrong.append("a stream of events did not end")


@contextlib.contextmanager
def s3_server(folder: Path, kind: str) -> Iterator[S3Server | None]:
    """The server whose bucket holds the payloads, where they go to one; this process's environment names it, too."""
    if kind != "s3":
        yield None
        return
    server = S3Server(folder)
    try:
        os.environ.update(server.wait_ready().environment)
        yield server
    finally:
        server.kill()


async def run(
    seed: int, jobs: int, poison: int, faults: int, folder: Path, before: Path | None = None, s3: S3Server | None = None
) -> bool:
    rng = random.Random(seed)
    # The version before knows no payloads, and may draw a PDF's page at another size: the answer here is of its pixels.
    planned = [dataclasses.replace(job, pdf=job.pdf and not before) for job in plan(rng, jobs, poison)]
    given = {"payloads_url": "redis:"} if before else {}
    stack = await ChaosStack.start(folder, rng, before, s3, **given)
    redis = connect(stack.valkey.url, patient=True)
    store = Store(redis, stack.settings)
    clients = Clients(stack, random.Random(seed + 2))
    began = time.monotonic()
    await stack.ready()
    keeper = asyncio.create_task(stack.keep_running())
    events_keeper = asyncio.create_task(keep_events(store))
    try:
        following = await submit_all(planned, random.Random(seed + 1), stack, clients, faults)
        recovery = await settle(stack, store)
        await end_streams(following, clients)
        await learn(planned, stack.settings)
        counts, findings = await verdict(store, planned)
        dead = await dead_loops(stack, clients)
        for kind, found in (
            ("wrong answer", clients.wrong), ("dead loop", dead), ("webhook lost", webhooks_lost(stack, planned)),
            ("hole", await holes(store, planned)),
        ):  # fmt: skip
            counts[kind] += len(found)
            findings += [f"{kind}: {one}" for one in found]
        counters = await redis.hgetall("counters")
    finally:
        keeper.cancel()
        events_keeper.cancel()
        await stack.stop()
        await redis.aclose()
        await clients.http.aclose()
    report(seed, planned, stack, clients, counts)
    print(f"  leases lost {int(counters.get(b'leases_lost', 0))}; ended {recovery:.0f} s after the last fault; "
          f"{time.monotonic() - began:.0f} s in all")  # fmt: skip
    for finding in findings[:20]:
        print("  " + finding)
    return not counts.total()


def report(seed: int, planned: list[Planned], stack: ChaosStack, clients: Clients, counts: Counter[str]) -> None:
    pages = sum(len(job.seeds) for job in planned)
    poisoned = sum(bool(job.poison) for job in planned)
    tries = sum(job.tries for job in planned)
    print(f"seed {seed}: {len(planned)} jobs, {pages} pages, {poisoned} poisoned, {tries} submits")
    print("  faults: " + ", ".join(f"{name} x{count}" for name, count in sorted(stack.counts.items())))
    print("  answers: " + ", ".join(f"{status} x{count}" for status, count in sorted(clients.statuses.items())))
    print("  ended by themselves: " + (", ".join(f"{how} x{n}" for how, n in Counter(stack.exits).items()) or "none"))
    print("  counts: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--poison", type=int, default=1)
    parser.add_argument("--faults", type=int, default=10, help="at least so many faults")
    parser.add_argument("--before", type=Path, help="a checkout whose code one worker runs: the version before")
    parser.add_argument("--payloads", choices=("folder", "s3"), default="folder", help="where payloads lie")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with s3_server(folder, args.payloads) as s3:
        good = asyncio.run(run(args.seed, args.jobs, args.poison, args.faults, folder, args.before, s3))
    if good and not args.keep:
        shutil.rmtree(folder)
    else:
        print(f"  logs: {folder}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
