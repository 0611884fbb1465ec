"""The service beside bare programs that do the least of the same, all of one run, in turns. For ``benchmarks.service``.

submission: the median of a submission at the gateway, against a bare FastAPI endpoint that stores an upload in Redis.
jobs:       one-page jobs/s from upload to result, against tasks/s of a bare Celery worker whose task does nothing.
waiting:    submissions and jobs/s with 100,000 jobs waiting, against 10.
pages:      pages/s of documents of 10, 100 and 1,000 pages, and of one.
load:       pages/s and the 95th percentile of a page's time while 1 to 20 pages a second come in.
library:    a page through the service's CPU engine, against RapidOCR called directly, and tesseract.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import redis

from benchmarks import bare_task
from benchmarks.gpu_engine import draw_page
from benchmarks.processes import ServiceProcesses, cpu_seconds, processes, quantile
from benchmarks.report import Comparison, Point, say
from shared.settings import StoreSettings
from shared.store import keyspace
from shared.store.connect import connect
from shared.store.jobs import Store
from tools.processes import Gateway, Process, Worker, environment
from tools.uploads import png, submit, tiff
from tools.valkey import Valkey, free_port, wait_until

UNREAD = itertools.count(1)
"""Seeds of pages that no service of this run has read: a second time it would have kept their results."""

NO_LIMIT: dict[str, Any] = {"max_queue_jobs": 10**6, "max_queue_pages": 10**7, "max_queue_bytes": 10**12}
MANY = httpx.Limits(max_connections=1000)
BOUNDARY = "a-boundary-of-a-form"
CALLERS = 8
WARM_UP_SECONDS = 4.0  # a connection that is quiet for longer is closed


class Uploader:
    """One connection that is kept open, over the cheapest client there is: what it takes is small beside the answer."""

    def __init__(self, url: str, path: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
        self._path = path
        self._connection.connect()

    def submit(self, data: bytes, *, wait: int = 0) -> tuple[float, dict[str, Any]]:
        """Upload one file; the seconds until its answer is there, and the answer."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} | (
            {"Prefer": f"wait={wait}"} if wait else {}
        )
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        taken = time.perf_counter() - began
        assert response.status in (200, 202), answer
        return taken, answer


@contextmanager
def valkey_in_a_folder() -> Iterator[tuple[Path, Valkey]]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        valkey = Valkey(Path(name))
        try:
            yield Path(name), valkey
        finally:
            valkey.stop()


@contextmanager
def running(*found: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in found:
            process.stop(60)


# -- submission


async def submission(rounds: int = 10, times: int = 50) -> list[Comparison]:
    """One caller. Nobody reads the jobs, so that nothing else runs; both programs use one Redis."""
    taken: dict[str, list[float]] = {"gateway": [], "endpoint": []}
    spent = dict.fromkeys(taken, 0.0)
    with valkey_in_a_folder() as (folder, valkey):
        gateway = Gateway(folder, valkey.url, log_level="error", payloads_url="redis:", **NO_LIMIT)
        port = free_port()
        bare = Process(["-m", "benchmarks.bare_endpoint"], folder / "bare.log", redis_url=valkey.url, port=port)
        with running(gateway, bare):
            gateway.wait_ready()
            bare.wait_for(lambda: answers(port), 60, "the bare endpoint")
            at = {"gateway": (gateway.url, "/api/v1/jobs"), "endpoint": (f"http://127.0.0.1:{port}", "/upload")}
            pids = {"gateway": gateway.pid, "endpoint": bare.pid}
            for number in range(2 * rounds + 2):
                name = "gateway" if number % 4 in (1, 2) else "endpoint"
                caller, pages = Uploader(*at[name]), [png(next(UNREAD)) for _ in range(times + 1)]
                caller.submit(pages.pop())
                before = cpu_seconds(pids[name])
                seconds = [caller.submit(page)[0] for page in pages]
                if number > 1:
                    taken[name] += seconds
                    spent[name] += cpu_seconds(pids[name]) - before
    p50 = {name: round(1000 * median(seconds), 3) for name, seconds in taken.items()}
    cpu = {name: round(1000 * spent[name] / len(taken[name]), 3) for name in taken}
    p95 = {name: round(1000 * quantile(seconds, 0.95), 3) for name, seconds in taken.items()}
    say("submission", p50_ms=p50, p95_ms=p95, cpu_ms=cpu, times=len(taken["gateway"]))
    return [
        Comparison("submission, p50, ms", p50["gateway"], "bare FastAPI endpoint", p50["endpoint"], "<= 1.5"),
        Comparison("submission, CPU, ms", cpu["gateway"], "bare FastAPI endpoint", cpu["endpoint"]),
    ]


def answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection(f"127.0.0.1:{port}", timeout=2)
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False


# -- jobs


async def jobs(rounds: int = 5, count: int = 200) -> list[Comparison]:
    """Both workers on one Redis, in turns; eight callers upload, a plain producer sends Celery's tasks."""
    rates: dict[str, list[float]] = {"service": [], "celery": []}
    cpu: dict[str, list[float]] = {"service": [], "celery": []}
    with processes(instant_seconds=0, log_level="error", **NO_LIMIT) as home:
        log = home.valkey.folder / "bare.log"
        bare = Process(["-m", "benchmarks.bare_task"], log, redis_url=home.valkey.url)
        send = producer(home.valkey)
        loads: dict[str, tuple[Callable[[int], None], list[int]]] = {
            "service": (lambda count: one_page_jobs(home, count), [home.gateway.pid, home.worker.pid]),
            "celery": (send, [bare.pid]),
        }
        with running(bare):
            for number in range(2 * rounds + 2):
                name = "service" if number % 4 in (1, 2) else "celery"
                load, pids = loads[name]
                before, began = cpu_seconds(*pids), time.perf_counter()
                await asyncio.to_thread(load, count)
                if number > 1:
                    rates[name].append(count / (time.perf_counter() - began))
                    cpu[name].append((cpu_seconds(*pids) - before) / count)
    rate = {name: round(median(found), 1) for name, found in rates.items()}
    spent = {name: round(1000 * median(found), 2) for name, found in cpu.items()}
    say("jobs", per_s=rate, cpu_ms=spent, rounds=rounds, count=count)
    return [
        Comparison("one-page jobs/s, upload to result", rate["service"], "bare Celery no-op", rate["celery"], ">= 0.7"),
        Comparison("CPU ms a job, gateway and worker", spent["service"], "its worker", spent["celery"]),
    ]


def one_page_jobs(home: ServiceProcesses, count: int) -> None:
    """All submitted, by eight callers, and read to the end."""
    pages = [png(next(UNREAD)) for _ in range(count)]
    shares = [pages[start::CALLERS] for start in range(CALLERS)]

    def share(own: list[bytes]) -> None:
        caller = Uploader(home.url, "/api/v1/jobs")
        for page in own:
            caller.submit(page)

    with ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(share, shares))
    client = home.valkey.client
    wait_until(lambda: unfinished(client) == 0, 300, "all jobs")


def unfinished(client: redis.Redis) -> int:
    return int(client.hget(keyspace.COUNTERS(), "jobs") or 0)


def producer(valkey: Valkey) -> Callable[[int], None]:
    """Sends so many tasks and waits until Celery has acknowledged them all."""
    app, client = bare_task.create(valkey.url), valkey.client

    def left() -> int:
        return int(client.llen(bare_task.QUEUE)) + int(client.zcard("unacked_index"))

    def send(count: int) -> None:
        for number in range(count):
            app.send_task(bare_task.TASK, (str(number),), queue=bare_task.QUEUE)
        wait_until(lambda: left() == 0, 300, "all tasks")

    return send


# -- a queue that is long


async def waiting(few: int = 10, many: int = 100_000, rounds: int = 3, seconds: float = 8) -> list[Comparison]:
    """Two services alike, one with few jobs waiting and one with many.

    Submissions are measured in turns before a worker is there, jobs/s while every job that ends is replaced.
    """
    taken: dict[int, list[float]] = {few: [], many: []}
    rates: dict[int, list[float]] = {}
    cpu: dict[int, list[float]] = {}
    async with waiting_jobs(few) as short, waiting_jobs(many) as long:
        services = {few: short, many: long}
        for number in range(2 * rounds + 2):
            depth = many if number % 4 in (1, 2) else few
            pages = [png(next(UNREAD)) for _ in range(41)]
            caller = Uploader(services[depth].url, "/api/v1/jobs")
            found = [caller.submit(page)[0] for page in pages][1:]
            taken[depth] += found if number > 1 else []
        for depth in (few, many):
            rates[depth], cpu[depth] = await asyncio.to_thread(replaced, services[depth], rounds, seconds)
    p50 = {depth: round(1000 * median(found), 3) for depth, found in taken.items()}
    rate = {depth: round(median(found), 2) for depth, found in rates.items()}
    spent = {depth: round(1000 * median(found), 2) for depth, found in cpu.items()}
    say("waiting", p50_ms=p50, jobs_per_s=rate, cpu_ms=spent)
    return [
        Comparison(f"submission, p50, ms, {many:,} waiting", p50[many], f"{few} waiting", p50[few], "<= 1.1"),
        Comparison(f"one-page jobs/s, {many:,} waiting", rate[many], f"{few} waiting", rate[few], ">= 0.9"),
        Comparison(f"CPU ms a job with Redis, {many:,} waiting", spent[many], f"{few} waiting", spent[few], "<= 1.1"),
    ]


@asynccontextmanager
async def waiting_jobs(depth: int) -> AsyncIterator[ServiceProcesses]:
    """A gateway, and a worker that has not been started, with so many jobs waiting."""
    with valkey_in_a_folder() as (folder, valkey):
        settings: dict[str, Any] = {"log_level": "error", "payloads_url": "redis:", "instant_seconds": 0, **NO_LIMIT}
        gateway, worker = Gateway(folder, valkey.url, **settings), Worker(folder, valkey.url, **settings)
        worker.kill()
        with running(gateway):
            gateway.wait_ready()
            await fill(valkey, depth)
            yield ServiceProcesses(valkey, gateway, worker)


async def fill(valkey: Valkey, count: int) -> None:
    """One-page jobs straight into the store."""
    settings, numbers = StoreSettings(_env_file=None, **NO_LIMIT), iter(range(count))
    store = Store(connect(valkey.url, patient=True), settings)

    async def caller() -> None:
        for _ in numbers:
            await submit(store, png(next(UNREAD)), "image/png")

    await asyncio.gather(*(caller() for _ in range(4 * CALLERS)))
    await store.redis.aclose()


def replaced(home: ServiceProcesses, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """One-page jobs/s and seconds of CPU a job with Redis, while every job that ends is replaced by a new one."""
    client, rates, cpu = home.valkey.client, [], []
    assert home.valkey.process is not None
    depth = unfinished(client)
    home.worker.start()
    pids = [home.gateway.pid, home.valkey.process.pid, home.worker.pid]
    with running(home.worker):
        while not top_up(home, depth, WARM_UP_SECONDS):
            pass
        for _ in range(rounds):
            before, began = cpu_seconds(*pids), time.perf_counter()
            ended = top_up(home, depth, seconds)
            rates.append(ended / (time.perf_counter() - began))
            cpu.append((cpu_seconds(*pids) - before) / ended)
    return rates, cpu


def top_up(home: ServiceProcesses, depth: int, seconds: float) -> int:
    """Submit as many jobs as end, as far as one caller can; how many ended."""
    caller, client = Uploader(home.url, "/api/v1/jobs"), home.valkey.client
    ends, before, submitted = time.perf_counter() + seconds, unfinished(client), 0
    while time.perf_counter() < ends:
        if unfinished(client) < depth:
            caller.submit(png(next(UNREAD)))
            submitted += 1
        else:
            time.sleep(0.005)
    return submitted + before - unfinished(client)


# -- pages of a document


async def pages(sizes: tuple[int, ...] = (1, 10, 100, 1000), rounds: int = 2, total: int = 1000) -> list[Comparison]:
    """So many pages altogether, as documents of each size, in turns."""
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    cpu: dict[int, list[float]] = {size: [] for size in sizes}
    with processes(instant_seconds=0, log_level="error", **NO_LIMIT) as home:
        await asyncio.to_thread(one_page_jobs, home, 20)
        for turn in range(rounds):
            for size in sizes if turn % 2 else sizes[::-1]:
                files = [tiff([next(UNREAD) for _ in range(size)]) for _ in range(total // size)]
                pids = [home.gateway.pid, home.worker.pid]
                before, began = cpu_seconds(*pids), time.perf_counter()
                await asyncio.to_thread(read_all, home, files)
                rates[size].append(total / (time.perf_counter() - began))
                cpu[size].append((cpu_seconds(*pids) - before) / total)
    rate = {size: round(median(found), 1) for size, found in rates.items()}
    spent = {size: round(1000 * median(found), 2) for size, found in cpu.items()}
    say("pages", pages_per_s=rate, cpu_ms=spent, pages=total)
    reference = 100
    return [
        figure
        for size in sizes
        if size != reference
        for figure in (
            Comparison(f"pages/s, documents of {size:,}", rate[size], f"of {reference}", rate[reference], ">= 0.9"),
            Comparison(
                f"CPU ms a page, documents of {size:,}", spent[size], f"of {reference}", spent[reference], "<= 1.1"
            ),
        )
    ]


def read_all(home: ServiceProcesses, files: list[bytes]) -> None:
    caller = Uploader(home.url, "/api/v1/jobs")
    for file in files:
        caller.submit(file)
    client = home.valkey.client
    wait_until(lambda: unfinished(client) == 0, 600, "all jobs")


# -- offered load


async def load(seconds: float = 10) -> tuple[list[Point], list[Comparison]]:
    """One-page jobs that come evenly, whatever the service does, at an engine of 16 pages/s."""
    slots, page_seconds, points = 8, 0.5, []
    with processes(instant_seconds=page_seconds, pages_in_flight=slots, log_level="error", **NO_LIMIT) as home:
        async with httpx.AsyncClient(base_url=home.url, timeout=120, limits=MANY) as client:
            await offered(client, 2, 2)
            for rate in (1, 2, 4, 8, 12, 16, 20):
                taken, ended = await offered(client, rate, seconds)
                points.append(Point(rate, round(ended, 2), round(quantile(taken, 0.95), 2)))
                say("load", pages_per_s_offered=rate, pages_per_s=points[-1].rate, p95=points[-1].p95)
    engine, most = slots / page_seconds, max(point.rate for point in points)
    return points, [Comparison("pages/s at most, one-page jobs", most, "what the engine can read", engine)]


async def offered(client: httpx.AsyncClient, rate: float, seconds: float) -> tuple[list[float], float]:
    """The seconds of each job from upload to result, and how many a second that was until the last one ended."""
    count, began, taken = max(1, int(rate * seconds)), time.perf_counter(), []
    files = [png(next(UNREAD)) for _ in range(count)]

    async def one(number: int) -> None:
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        sent = time.perf_counter()
        answer = await client.post(
            "/api/v1/jobs", files={"file": ("a.png", files[number])}, headers={"Prefer": "wait=60"}
        )
        assert answer.json()["status"] == "succeeded", answer.text
        taken.append(time.perf_counter() - sent)

    await asyncio.gather(*(one(number) for number in range(count)))
    return taken, count / (time.perf_counter() - began)


# -- the OCR library itself


async def library(rounds: int = 3) -> list[Comparison]:
    """A drawn page, read alone, in turns. The library runs as it comes, with as many threads as it likes."""
    ways: dict[str, Callable[[bytes], float]] = {"RapidOCR called directly": directly()}
    if shutil.which("tesseract"):
        ways["tesseract, one thread"] = with_tesseract
    taken: dict[str, list[float]] = {name: [] for name in ("service", *ways)}
    with processes(engine="cpu", log_level="error") as home:
        for number in range(rounds + 1):
            page = drawn_page(number)
            began = time.perf_counter()
            status = Uploader(home.url, "/api/v1/jobs").submit(page, wait=110)[1]["status"]
            assert status in ("succeeded", "partial"), status
            found = {"service": time.perf_counter() - began}
            found |= {name: await asyncio.to_thread(way, page) for name, way in ways.items()}
            for name, one in found.items() if number else ():
                taken[name].append(one)
    seconds = {name: round(median(values), 2) for name, values in taken.items()}
    say("library", seconds=seconds)
    return [
        Comparison("s, an A4 page through the CPU engine", seconds["service"], name, seconds[name]) for name in ways
    ]


def drawn_page(seed: int) -> bytes:
    """A page full of words that no other seed gives, as PNG."""
    buffer = io.BytesIO()
    draw_page(seed).save(buffer, "PNG")
    return buffer.getvalue()


def directly() -> Callable[[bytes], float]:
    from rapidocr import RapidOCR

    ocr = RapidOCR(params={"Global.log_level": "critical"})

    def read(page: bytes) -> float:
        began = time.perf_counter()
        assert ocr(page).txts
        return time.perf_counter() - began

    return read


def with_tesseract(page: bytes) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        ["tesseract", "-", "-"], input=page, capture_output=True, check=True, env=environment(omp_thread_limit=1)
    )
    assert done.stdout.strip()
    return time.perf_counter() - began
