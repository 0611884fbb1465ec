"""The service around the engine, measured with the instant engine: ``python -m benchmarks.service [NAME ...]``.

throughput: pages/s through HTTP and queue, as a share of the same engine's in this process, in one run.
fairness:   a one-page job's time while a document of 500 pages is read, against its time on an idle service.
overload:   ten times more submissions than the engine can read; which answers they get, and how soon.
payloads:   a submission's median time and jobs/s with a payload folder, against everything in Redis, in turns.
telemetry:  jobs/s with JSON logs, scraped metrics and traces, against none of them, in turns (goal: 0.97).
room:       bytes in Redis, and in the payload folder, for a finished page and a finished job.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import httpx

from benchmarks.processes import ServiceProcesses, processes, quantile
from shared.contract.options import Options
from shared.store import keyspace
from tools.payloads import payloads_url
from tools.receiver import Receiver
from tools.uploads import picture, png, tiff
from worker.engines.base import PageImage
from worker.engines.instant import InstantEngine


async def submit(client: httpx.AsyncClient, url: str, data: bytes, name: str, wait: int = 0) -> httpx.Response:
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return await client.post(f"{url}/api/v1/jobs", files={"file": (name, data)}, headers=headers)


async def finish(client: httpx.AsyncClient, url: str, job_id: str) -> dict[str, Any]:
    while True:
        job = (await client.get(f"{url}/api/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})).json()
        if job["completed_at"]:
            return job  # type: ignore[no-any-return]


async def in_process(pages: int, seconds: float, at_once: int) -> float:
    """Pages/s of the engine alone, fed with pictures that are ready."""
    engine, gate = InstantEngine(seconds), asyncio.Semaphore(at_once)
    images = [picture(seed) for seed in range(16)]

    async def read(number: int) -> None:
        async with gate:
            async for _ in engine.read(PageImage(number, images[number % 16]), Options()):
                pass

    began = time.perf_counter()
    await asyncio.gather(*(read(number) for number in range(1, pages + 1)))
    return pages / (time.perf_counter() - began)


async def throughput() -> None:
    seconds, at_once, documents, pages = 0.5, 16, 16, 20
    reference = await in_process(documents * pages, seconds, at_once)
    with processes(instant_seconds=seconds, pages_in_flight=at_once, keep_page_images=False) as home:
        async with httpx.AsyncClient(timeout=120) as client:
            await finish(client, home.url, (await submit(client, home.url, png(1), "warm.png")).json()["id"])
            began = time.perf_counter()
            answers = [
                await submit(client, home.url, tiff(range(i * 100, i * 100 + pages)), "a.tiff")
                for i in range(documents)
            ]
            jobs = await asyncio.gather(*(finish(client, home.url, answer.json()["id"]) for answer in answers))
            rate = documents * pages / (time.perf_counter() - began)
    assert all(job["status"] == "succeeded" for job in jobs)
    print(f"throughput: {rate:.1f} pages/s through HTTP and queue, {reference:.1f} in process: {rate / reference:.2f}")


async def single(client: httpx.AsyncClient, url: str, times: int, seed: int) -> list[float]:
    taken = []
    for i in range(times):
        began = time.perf_counter()
        answer = await submit(client, url, png(seed + i), "one.png", wait=60)
        assert answer.json()["status"] == "succeeded", answer.text
        taken.append(time.perf_counter() - began)
    return taken


async def fairness() -> None:
    seconds, times = 0.4, 25
    with processes(instant_seconds=seconds, pages_in_flight=1) as home:
        async with httpx.AsyncClient(timeout=120) as client:
            await single(client, home.url, 2, 0)
            idle = quantile(await single(client, home.url, times, 100), 0.95)
            big = (await submit(client, home.url, tiff(range(1000, 1500)), "big.tiff")).json()
            await client.get(f"{home.url}/api/v1/jobs/{big['id']}", headers={"Prefer": "wait=2"})
            busy = quantile(await single(client, home.url, times, 200), 0.95)
            await client.post(f"{home.url}/api/v1/jobs/{big['id']}/cancel")
    limit = 2 * idle + seconds
    print(f"fairness: p95 of a one-page job {idle:.2f} s idle, {busy:.2f} s beside 500 pages; "
          f"2 x idle + a page = {limit:.2f} s: {busy / limit:.2f}")  # fmt: skip


async def overload(duration: float = 120) -> None:
    seconds, at_once = 0.5, 2
    offered = 10 * at_once / seconds
    taken: dict[str, list[float]] = {"idle": [], "overload": []}
    answers: Counter[int] = Counter()
    accepted: list[str] = []
    with processes(instant_seconds=seconds, pages_in_flight=at_once, max_queue_jobs=200) as home:
        async with httpx.AsyncClient(timeout=90, limits=httpx.Limits(max_connections=200)) as client:

            async def one(phase: str, seed: int) -> None:
                began = time.perf_counter()
                answer = await submit(client, home.url, png(seed), "one.png")
                taken[phase].append(time.perf_counter() - began)
                answers[answer.status_code] += 1
                if answer.status_code == 202:
                    accepted.append(answer.json()["id"])

            for i in range(60):
                await one("idle", i)
                await asyncio.sleep(0.3)
            answers.clear()
            running, began, peak = set(), time.perf_counter(), 0
            for i in range(int(offered * duration)):
                await asyncio.sleep(max(0.0, began + i / offered - time.perf_counter()))
                running.add(task := asyncio.create_task(one("overload", 1000 + i)))
                task.add_done_callback(running.discard)
                if not i % 100:
                    peak = max(peak, home.valkey.client.info("memory")["used_memory"])
            await asyncio.gather(*running)
            ends = Counter([(await finish(client, home.url, job_id))["status"] for job_id in accepted])
    idle, busy = (quantile(taken[phase], 0.99) for phase in ("idle", "overload"))
    print(f"overload: {offered:.0f} submissions/s for {duration:.0f} s: answers {dict(answers)}, accepted ended "
          f"{dict(ends)}; p99 of a submission {idle * 1000:.0f} ms idle, {busy * 1000:.0f} ms: {busy / idle:.1f}; "
          f"Redis at most {peak / 2**20:.0f} MiB")  # fmt: skip


async def one_store(url: str, jobs: int) -> tuple[float, float]:
    """The median of a submission in seconds, and one-page jobs/s with pictures kept, eight callers at once."""
    taken: list[float] = []
    with processes(instant_seconds=0, payloads_url=url) as home:
        async with httpx.AsyncClient(timeout=120) as client:
            await single(client, home.url, 5, 0)
            gate = asyncio.Semaphore(8)

            async def one(seed: int) -> str:
                async with gate:
                    began = time.perf_counter()
                    answer = await submit(client, home.url, png(seed), "one.png")
                    taken.append(time.perf_counter() - began)
                    return str(answer.json()["id"])

            began = time.perf_counter()
            ids = await asyncio.gather(*(one(1000 + i) for i in range(jobs)))
            for job_id in ids:
                assert (await finish(client, home.url, job_id))["status"] == "succeeded"
            rate = jobs / (time.perf_counter() - began)
    return quantile(taken, 0.5), rate


async def payloads(rounds: int = 3, jobs: int = 300) -> None:
    found: dict[str, list[tuple[float, float]]] = {"redis": [], "folder": []}
    for _ in range(rounds):
        for name, url in (("redis", "redis:"), ("folder", payloads_url())):
            found[name].append(await one_store(url, jobs))
    p50 = {name: quantile([one[0] for one in runs], 0.5) for name, runs in found.items()}
    rate = {name: quantile([one[1] for one in runs], 0.5) for name, runs in found.items()}
    print(f"payloads: p50 of a submission {p50['redis'] * 1000:.1f} ms in Redis, {p50['folder'] * 1000:.1f} ms with a "
          f"folder: {p50['folder'] / p50['redis']:.2f}; {rate['redis']:.1f} and {rate['folder']:.1f} jobs/s: "
          f"{rate['folder'] / rate['redis']:.2f}")  # fmt: skip


UNREAD = itertools.count(1)
"""Seeds of pages that no service of this run has read: a second time it would have kept their results."""


async def one_page_jobs(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> None:
    """Eight callers at once."""
    todo = [next(UNREAD) for _ in range(jobs)]

    async def caller() -> None:
        while todo:
            answer = await submit(client, home.url, png(todo.pop()), "one.png", wait=60)
            assert answer.json()["status"] == "succeeded", answer.text

    await asyncio.gather(*(caller() for _ in range(8)))


async def documents(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> None:
    """Of twenty pages each, all at once, as in ``throughput``."""
    files = [tiff([next(UNREAD) for _ in range(20)]) for _ in range(jobs)]
    answers = [await submit(client, home.url, file, "a.tiff") for file in files]
    ends = await asyncio.gather(*(finish(client, home.url, answer.json()["id"]) for answer in answers))
    assert all(job["status"] == "succeeded" for job in ends)


Load = Callable[[httpx.AsyncClient, ServiceProcesses, int], Awaitable[None]]


async def in_turns(load: Load, jobs: int, rounds: int, **settings: Any) -> str:
    """Both services live all the time and get their bursts in turns: what disturbs the machine disturbs both."""
    collector = Receiver(lambda _call, _number: (200, {}))
    telling = {"log_format": "json", "otel_exporter_otlp_endpoint": collector.url}
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with processes(log_level="error", **settings) as off, processes(**telling, **settings) as on:
        async with httpx.AsyncClient(timeout=120) as client:
            for number in range(2 * (rounds + 1)):
                tells = number % 4 in (1, 2)  # off, on, on, off: neither is always the first
                home = on if tells else off
                before, began = home.cpu_seconds(), time.perf_counter()
                if tells:
                    (await client.get(f"{home.url}/metrics")).raise_for_status()
                await load(client, home, jobs)
                taken, worked = time.perf_counter() - began, home.cpu_seconds() - before
                if number > 1:
                    found[tells].append((jobs / taken, worked / jobs))
    collector.close()
    assert collector.calls, "no trace was sent"
    rate, cpu = ({tells: median(one[at] for one in runs) for tells, runs in found.items()} for at in (0, 1))
    cpus = f"CPU a job {cpu[False] * 1000:.1f} and {cpu[True] * 1000:.1f} ms"
    rates = f"{rate[False]:.2f} and {rate[True]:.2f} jobs/s: {rate[True] / rate[False]:.3f}"
    return f"{rates}; {cpus} (medians of {rounds} bursts of {jobs} jobs)"


async def telemetry() -> None:
    full = await in_turns(documents, 4, 15, instant_seconds=0.5, pages_in_flight=16)
    print(f"telemetry: documents of 20 pages at an engine that is full, without and with: {full}")
    idle = await in_turns(one_page_jobs, 100, 30, instant_seconds=0)
    print(f"telemetry: one-page jobs at an engine that takes no time, so that CPU is all there is: {idle}")


async def room() -> None:
    """Of keys that hold a job's id: one job of a page, and what each further page adds."""
    sizes: dict[int, int] = {}
    with processes(instant_seconds=0) as home:
        redis = home.valkey.client
        async with httpx.AsyncClient(timeout=120) as client:
            for pages in (1, 101):
                answer = await submit(client, home.url, tiff(range(pages)), "a.tiff")
                job = await finish(client, home.url, answer.json()["id"])
                redis.zadd(keyspace.CLEANUPS(), {f"events {job['id']}": 1})
                while redis.exists(keyspace.EVENTS(job["id"])):
                    await asyncio.sleep(0.1)
                names = [name for name in redis.scan_iter() if job["id"].encode() in name]
                sizes[pages] = sum(redis.memory_usage(name, samples=0) or 0 for name in names)
    page = (sizes[101] - sizes[1]) / 100
    print(f"room: {sizes[1] - page:.0f} bytes of Redis for a finished job and {page:.0f} for each of its pages")


MEASUREMENTS = {
    "throughput": throughput, "fairness": fairness, "overload": overload, "payloads": payloads,
    "telemetry": telemetry, "room": room,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.service")
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(MEASUREMENTS))
    for name in parser.parse_args().names:
        asyncio.run(MEASUREMENTS[name]())


if __name__ == "__main__":
    main()
