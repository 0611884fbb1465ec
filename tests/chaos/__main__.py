"""``python -m tests.chaos --seed 1 --jobs 100``: exits 1 unless every count is 0."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import httpx

from shared.errors import StoreUnavailable
from shared.store.connect import connect
from shared.store.jobs import Store
from tests.chaos.checker import verdict
from tests.chaos.faults import ChaosStack
from tests.chaos.plan import Planned, plan
from tests.conftest import make_settings

SUBMITTERS = 6
PATIENCE = 150.0  # seconds the stack may take to end every job once the faults are over


async def submit(client: httpx.AsyncClient, stack: ChaosStack, job: Planned) -> None:
    """Until a 2xx names the job's id: the same key every time, as a client that does not know what happened."""
    files = {"file": ("chaos.tiff", job.data(), "image/tiff")}
    while True:
        job.tries += 1
        try:
            answer = await client.post(
                f"{stack.gateway.url}/api/v1/jobs",
                files=files,
                data={"priority": job.priority},
                headers={"Idempotency-Key": job.key},
            )
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.is_success:
            job.ids.append(answer.json()["id"])
            return
        assert answer.status_code in (429, 503), f"{answer.status_code} {answer.text[:500]}"
        await asyncio.sleep(0.2)


async def submitter(stack: ChaosStack, jobs: list[Planned], rng: random.Random) -> None:
    async with httpx.AsyncClient(timeout=15) as client:
        while jobs:
            job = jobs.pop()
            await submit(client, stack, job)
            if rng.random() < 0.1:
                await submit(client, stack, job)  # a client that repeats although it was answered


async def breaker(stack: ChaosStack, rng: random.Random, submitting: asyncio.Task[None], least: int) -> None:
    """A fault every one to three seconds while there are submissions, and at least so many."""
    done = 0
    while not submitting.done() or done < least:
        await asyncio.sleep(rng.uniform(1, 3))
        await stack.break_something()
        done += 1


async def settle(store: Store, planned: list[Planned]) -> float:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            if not (await store.counters()).get("jobs", 0):
                break
        except StoreUnavailable:
            pass  # it is just coming back
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def run(seed: int, jobs: int, poison: int, faults: int, folder: Path) -> bool:
    rng = random.Random(seed)
    planned = plan(rng, jobs, poison)
    stack = ChaosStack(folder, rng)
    client = connect(stack.valkey.url, patient=True)
    store = Store(client, make_settings(stack.valkey.url))
    keeper = asyncio.create_task(stack.keep_running())
    began = time.monotonic()
    try:
        queue = list(planned)
        random.Random(seed + 1).shuffle(queue)
        stack.gateway.wait_ready()
        submitting = asyncio.gather(*(submitter(stack, queue, rng) for _ in range(SUBMITTERS)))
        all_submitted = asyncio.ensure_future(submitting)
        await breaker(stack, rng, all_submitted, faults)
        await all_submitted
        recovery = await settle(store, planned)
        counts, findings = await verdict(store, planned)
        counters = await store.counters()
    finally:
        keeper.cancel()
        stack.stop()
        await client.aclose()
    print(f"seed {seed}: {jobs} jobs, {sum(len(job.seeds) for job in planned)} pages, {poison} poisoned, "
          f"{sum(job.tries for job in planned)} submits, {time.monotonic() - began:.0f} s",)  # fmt: skip
    print("  faults: " + ", ".join(f"{name} x{count}" for name, count in sorted(stack.counts.items())))
    print("  counts: " + ", ".join(f"{name} {count}" for name, count in counts.items())
          + f"; leases lost {counters.get('leases_lost', 0)}; ended {recovery:.0f} s after the last fault")  # fmt: skip
    for finding in findings[:20]:
        print("  " + finding)
    return not counts.total()


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--poison", type=int, default=1)
    parser.add_argument("--faults", type=int, default=8, help="at least so many faults")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    good = asyncio.run(run(args.seed, args.jobs, args.poison, args.faults, folder))
    if good and not args.keep:
        import shutil

        shutil.rmtree(folder)
    else:
        print(f"  logs: {folder}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
