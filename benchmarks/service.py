"""The service around the engine, measured with the instant engine: ``python -m benchmarks.service [NAME ...]``.

One table of all that was asked for, each figure beside a reference of the same run; the same as JSON in
``build/bench/service.json``, and pages/s and the 95th percentile against the offered load in ``service.svg``.

throughput: pages/s through HTTP and queue, as a share of the same engine's in this process, in one run.
fairness:   a one-page job's time while a document of 500 pages is read, against its time on an idle service.
overload:   ten times more submissions than the engine can read; which answers they get, and how soon.
payloads:   a submission's median time and jobs/s with a payload folder, against everything in Redis, in turns.
telemetry:  jobs/s with JSON logs, scraped metrics and traces, against none of them, in turns (goal: 0.97).
room:       bytes in Redis, and in the payload folder, for a finished page and a finished job.
submission, jobs, waiting, pages, load, library: see ``benchmarks.comparisons``.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

import httpx

from benchmarks import comparisons
from benchmarks.comparisons import UNREAD
from benchmarks.processes import ServiceProcesses, processes, quantile
from benchmarks.report import Comparison, drawing, save, say, table
from shared.contract.options import Options
from shared.store import keyspace
from tools.payloads import payloads_url
from tools.receiver import Receiver
from tools.uploads import picture, png, tiff
from tools.valkey import ROOT
from worker.engines.base import PageImage
from worker.engines.instant import InstantEngine

FOLDER = ROOT / "build" / "bench"
DRAWING = FOLDER / "service.svg"


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


async def throughput() -> list[Comparison]:
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
    return [
        Comparison("pages/s through HTTP and queue, 16 in flight", round(rate, 1), "in process", round(reference, 1))
    ]


async def single(client: httpx.AsyncClient, url: str, times: int, seed: int) -> list[float]:
    taken = []
    for i in range(times):
        began = time.perf_counter()
        answer = await submit(client, url, png(seed + i), "one.png", wait=60)
        assert answer.json()["status"] == "succeeded", answer.text
        taken.append(time.perf_counter() - began)
    return taken


async def fairness() -> list[Comparison]:
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
    say("fairness", idle_p95=round(idle, 2), busy_p95=round(busy, 2))
    reference = "twice idle, and a page"
    return [Comparison("s, p95 of a one-page job beside 500 pages", round(busy, 2), reference, round(limit, 2), "<= 1")]


async def overload(duration: float = 120) -> list[Comparison]:
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
    idle, busy = (round(1000 * quantile(taken[phase], 0.99), 1) for phase in ("idle", "overload"))
    say("overload", per_s=offered, seconds=duration, answers=dict(answers), ended=dict(ends), redis_mib=peak >> 20)
    return [Comparison("submission, p99, ms, ten times too many", busy, "idle", idle)]


async def payloads(rounds: int = 24, jobs: int = 100) -> list[Comparison]:
    """A submission's median time and one-page jobs/s, pictures kept; each burst is read to its end."""
    settings: dict[str, Any] = {"instant_seconds": 0, "log_level": "error"}
    redis, folder = {"payloads_url": "redis:", **settings}, {"payloads_url": payloads_url(), **settings}
    plain, other = await in_turns((submitted, redis), (submitted, folder), jobs, rounds)
    say("payloads", redis=plain._asdict(), folder=other._asdict(), rounds=rounds, jobs=jobs)
    p50 = {store: round(1000 * of.submission, 1) for store, of in (("redis", plain), ("folder", other))}
    return [
        Comparison("submission, p50, ms, payload folder", p50["folder"], "all in Redis", p50["redis"], "<= 1.1"),
        Comparison(
            "one-page jobs/s, payload folder", round(other.rate, 1), "all in Redis", round(plain.rate, 1), ">= 0.95"
        ),
    ]


async def submitted(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> list[float]:
    """Eight callers at once; the jobs are waited for when all are submitted."""
    taken, gate = [], asyncio.Semaphore(8)

    async def one(number: int) -> str:
        async with gate:
            began = time.perf_counter()
            answer = await submit(client, home.url, png(number), "one.png")
            taken.append(time.perf_counter() - began)
            return str(answer.json()["id"])

    for job_id in await asyncio.gather(*(one(next(UNREAD)) for _ in range(jobs))):
        assert (await finish(client, home.url, job_id))["status"] == "succeeded"
    return taken


async def one_page_jobs(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> list[float]:
    """Eight callers at once, each waiting for the result in its submission."""
    todo, taken = [next(UNREAD) for _ in range(jobs)], []

    async def caller() -> None:
        while todo:
            began = time.perf_counter()
            answer = await submit(client, home.url, png(todo.pop()), "one.png", wait=60)
            assert answer.json()["status"] == "succeeded", answer.text
            taken.append(time.perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(8)))
    return taken


async def documents(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> list[float]:
    """Of twenty pages each, all at once, as in ``throughput``."""
    files = [tiff([next(UNREAD) for _ in range(20)]) for _ in range(jobs)]
    taken, answers = [], []
    for file in files:
        began = time.perf_counter()
        answers.append(await submit(client, home.url, file, "a.tiff"))
        taken.append(time.perf_counter() - began)
    ends = await asyncio.gather(*(finish(client, home.url, answer.json()["id"]) for answer in answers))
    assert all(job["status"] == "succeeded" for job in ends)
    return taken


Load = Callable[[httpx.AsyncClient, ServiceProcesses, int], Awaitable[list[float]]]
"""Puts so many jobs through; the seconds that each submission took."""


class Burst(NamedTuple):
    """One burst at one service, or what is typical of all: jobs/s, CPU seconds a job, seconds of a submission."""

    rate: float
    cpu: float
    submission: float


async def in_turns(
    one: tuple[Load, dict[str, Any]], other: tuple[Load, dict[str, Any]], jobs: int, rounds: int
) -> tuple[Burst, Burst]:
    """A load and the settings of a service, twice. Both live all the time and get their bursts in turns: what disturbs
    the machine disturbs both."""
    found: tuple[list[Burst], list[Burst]] = ([], [])
    with processes(**one[1]) as first, processes(**other[1]) as second:
        async with httpx.AsyncClient(timeout=120) as client:
            for number in range(2 * (rounds + 1)):
                turn = number % 4 in (1, 2)  # first, second, second, first: neither is always the first
                load, home = (other[0], second) if turn else (one[0], first)
                before, began = home.cpu_seconds(), time.perf_counter()
                taken = await load(client, home, jobs)
                burst = Burst(jobs / (time.perf_counter() - began), (home.cpu_seconds() - before) / jobs, median(taken))
                if number > 1:
                    found[turn].append(burst)
    return typical(found[0]), typical(found[1])


def typical(bursts: Sequence[Burst]) -> Burst:
    """Medians; of CPU the mean, for every second or third burst starts a sandbox, which is a quarter of its CPU."""
    rates, cpu, submissions = zip(*bursts, strict=True)
    return Burst(median(rates), fmean(cpu), median(submissions))


async def compare_telemetry(name: str, load: Load, jobs: int, rounds: int, **settings: Any) -> list[Comparison]:
    """JSON logs, traces and a scrape of the metrics for each burst, against none of them."""

    async def scraped(client: httpx.AsyncClient, home: ServiceProcesses, jobs: int) -> list[float]:
        (await client.get(f"{home.url}/metrics")).raise_for_status()
        return await load(client, home, jobs)

    collector = Receiver(lambda _call, _number: (200, {}))
    telling = {"log_format": "json", "otel_exporter_otlp_endpoint": collector.url}
    off, on = await in_turns(
        (load, {"log_level": "error", **settings}), (scraped, {**telling, **settings}), jobs, rounds
    )
    collector.close()
    assert collector.calls, "no trace was sent"
    say(f"telemetry, {name}", off=off._asdict(), on=on._asdict(), rounds=rounds, jobs=jobs)
    cpu = [round(1000 * burst.cpu, 1) for burst in (on, off)]
    return [
        Comparison(f"jobs/s with telemetry, {name}", round(on.rate, 2), "without", round(off.rate, 2), ">= 0.97"),
        Comparison(f"CPU ms a job with telemetry, {name}", cpu[0], "without", cpu[1]),
    ]


async def telemetry() -> list[Comparison]:
    """Documents at an engine that is full; one-page jobs at one that takes no time, so that CPU is all there is."""
    full = await compare_telemetry("documents of 20 pages", documents, 4, 15, instant_seconds=0.5, pages_in_flight=16)
    return full + await compare_telemetry("one-page jobs", one_page_jobs, 100, 30, instant_seconds=0)


async def room() -> list[Comparison]:
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
    return [
        Comparison(
            "bytes of Redis, a finished page", round(page), "a finished job without pages", round(sizes[1] - page)
        )
    ]


async def load() -> list[Comparison]:
    points, figures = await comparisons.load()
    DRAWING.parent.mkdir(parents=True, exist_ok=True)
    DRAWING.write_text(drawing(points, "pages/s offered", "p95 of a page, s"), encoding="utf-8")
    return figures


MEASUREMENTS: dict[str, Callable[[], Awaitable[list[Comparison]]]] = {
    "submission": comparisons.submission, "jobs": comparisons.jobs, "waiting": comparisons.waiting,
    "pages": comparisons.pages, "load": load, "library": comparisons.library,
    "throughput": throughput, "fairness": fairness, "overload": overload, "payloads": payloads,
    "telemetry": telemetry, "room": room,
}  # fmt: skip


async def measure(names: Sequence[str]) -> list[Comparison]:
    return [figure for name in names for figure in await MEASUREMENTS[name]()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(MEASUREMENTS), help="; ".join(MEASUREMENTS))
    figures = asyncio.run(measure(parser.parse_args().names))
    save(figures, FOLDER / "service.json")
    print(table(figures))


if __name__ == "__main__":
    main()
