"""DeepSeek-OCR through HTTP and queue, against the same engine in process: run right after ``benchmarks.gpu_engine``.

    python3 -m benchmarks.gpu_engine MODEL ... | tee engine.jsonl
    python3 -m benchmarks.gpu_queue MODEL --engine engine.jsonl [--in-flight 256]

The same kind of pages (A4, lengths drawn from the same distribution, marked on the page itself so that they are the
same whatever the order), as PDFs of 16 pages each. Pages read alone say words, so that their first text comes as a real
output's would after its first marker. One JSON object a line; all times in seconds.
``ENGINE=benchmarks.gpu_queue:load`` is the engine of ``benchmarks.gpu_engine`` that reads the marks.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image, ImageDraw

from benchmarks.gpu_engine import DISTINCT_PAGES, TINY_ARGS, WANTED, draw_page, lengths, said, say, weights_of
from benchmarks.gpu_engine import load as load_endless
from shared.contract.options import Options
from tools.processes import Gateway, Worker
from tools.valkey import Valkey
from worker.engines.base import PageImage, Piece
from worker.engines.vllm_host.settings import VllmSettings

BITS = 12
MARK, STEP, TOP = 24, 60, 16  # pixels: side of a mark, from mark to mark, from the page's top
PAGES = 16  # of one document
READY = " engine.ready "  # in a worker's log

SOLO_TOKENS = 300
"""Length of the pages that are read alone. Only words come of them: the service gives text out by words, and random
tokens make none for long."""

WORDS = " the of and to in is that for it as was with be by on not he his from at which or have an they you were her"


def marked(page: Image.Image, tokens: int) -> Image.Image:
    """The page with its length at its top, in squares that survive JPEG and rendering."""
    page = page.copy()
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width, TOP + MARK + 4), fill="white")
    for bit in range(BITS):
        if tokens >> bit & 1:
            draw.rectangle((100 + bit * STEP, TOP, 100 + bit * STEP + MARK, TOP + MARK), fill="black")
    return page


def mark_of(page: Image.Image) -> int:
    """The length at the top of a page that was drawn 1240 pixels wide."""
    scale = page.width / 1240
    places = ((100 + bit * STEP + MARK / 2, TOP + MARK / 2) for bit in range(BITS))
    dark = [page.getpixel((int(x * scale), int(y * scale))) for x, y in places]
    return sum(1 << bit for bit, pixel in enumerate(dark) if sum(pixel) < 384)  # type: ignore[arg-type,misc]  # RGB


SETTINGS = VllmSettings


async def load(settings: VllmSettings) -> Any:
    engine = await load_endless(settings)
    plain_read, plain_sampling = engine.read, engine.sampling
    words = sorted(set(engine.model.inputs.prompt_ids(WORDS)))

    async def read(page: PageImage, options: Options) -> AsyncIterator[Piece]:
        WANTED.set(max(1, mark_of(page.image)))
        async for piece in plain_read(page, options):
            yield piece

    def sampling(how: Any, prompt_tokens: int, **more: Any) -> Any:
        if WANTED.get() == SOLO_TOKENS:
            more["allowed_token_ids"] = words
        return plain_sampling(how, prompt_tokens, **more)

    engine.read, engine.sampling = read, sampling
    return engine


def document(pages: list[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=150, quality=85)
    return buffer.getvalue()


def documents(drawn: list[int]) -> list[bytes]:
    """PDFs of ``PAGES`` pages, made on all cores: as many pages as lengths are given."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_of_lengths, (drawn[i : i + PAGES] for i in range(0, len(drawn), PAGES))))


def _of_lengths(drawn: list[int]) -> bytes:
    return document([marked(draw_page(seed % DISTINCT_PAGES), tokens) for seed, tokens in enumerate(drawn)])


class Cores:
    """CPU seconds of the service's processes, by what they are, between two looks."""

    def __init__(self, roots: dict[str, int]) -> None:
        self._roots = roots
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, pid in self._roots.items():
            process = psutil.Process(pid)
            found[name] = _cpu(process)
            for child in process.children(recursive=True):
                kind = "vllm core" if "EngineCore" in " ".join([child.name(), *child.cmdline()]) else f"{name} children"
                found[kind] = found.get(kind, 0.0) + _cpu(child)
        return found

    def used(self, wall: float) -> dict[str, float]:
        """Cores' worth of each, on average."""
        return {name: round((now - self._before.get(name, 0.0)) / wall, 2) for name, now in self._now().items()}


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def png(page: Image.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


async def first_text(client: httpx.AsyncClient, page: bytes) -> dict[str, float]:
    """Seconds from sending a page to its first text by the original API, and to the events on its way."""
    began, sent, first = time.monotonic(), time.time(), 0.0
    async with client.stream("POST", "/api/v1/ocr", files={"file": ("a.png", page)}) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not first and line.startswith('data: {"text"'):
                first = time.monotonic() - began
    return {**await phases(client, answer.headers["x-job-id"], sent), "first text": first}


async def phases(client: httpx.AsyncClient, job_id: str, sent: float) -> dict[str, float]:
    found: dict[str, float] = {}
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as answer:
        name, moment = "", 0.0
        async for line in answer.aiter_lines():
            key, _, value = line.partition(": ")
            if key == "id":
                moment = int(value.partition("-")[0]) / 1000 - sent
            elif key == "data":
                name = name if name != "status" else json.loads(value)["status"]
                found.setdefault(name, moment)
            elif key == "event":
                name = value
            if found.get("token"):
                break
    return {name: at for name, at in found.items() if name in ("queued", "processing", "page.started", "token")}


async def ended(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    while not job["completed_at"]:
        job = (await client.get(f"/api/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"})).json()
    return job


async def crowd(client: httpx.AsyncClient, documents: Iterable[bytes]) -> tuple[float, list[dict[str, Any]]]:
    began = time.monotonic()
    jobs = []
    for data in documents:
        answer = await client.post("/api/v1/jobs", files={"file": ("a.pdf", data)})
        answer.raise_for_status()
        jobs.append(answer.json())
    jobs = await asyncio.gather(*(ended(client, job) for job in jobs))
    return time.monotonic() - began, jobs


async def measure(args: argparse.Namespace, url: str, roots: dict[str, int], files: list[bytes]) -> None:
    pages = [draw_page(seed) for seed in range(DISTINCT_PAGES)]
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        warm = document([marked(page, min(200, args.longest)) for page in pages])
        await crowd(client, [warm] * 2)
        solo = png(marked(pages[0], SOLO_TOKENS))
        first = [await first_text(client, solo) for _ in range(args.solo + 1)][1:]
        cores = Cores(roots)
        wall, jobs = await crowd(client, files)
        used = cores.used(wall)
    statuses = sorted({job["status"] for job in jobs})
    read = sum(job["progress"]["pages_done"] for job in jobs)
    tokens = sum(job["usage"]["completion_tokens"] for job in jobs)
    rate = read / wall
    middle = {name: round(statistics.median(one[name] for one in first), 3) for name in first[0]}
    say("queue: one page alone", **middle)
    say("queue: cores in use", **used)
    say(f"queue: {args.in_flight} in flight", pages=read, statuses=statuses, wall=round(wall, 2),
        pages_per_s=round(rate, 3), tokens_per_s=round(tokens / wall))  # fmt: skip
    if args.engine:
        compare(args, rate, middle["first text"])


def compare(args: argparse.Namespace, rate: float, first: float) -> None:
    cases = said(args.engine.read_text(encoding="utf-8"))
    alone, ours = cases["ours: one page alone"], cases[f"ours: {args.in_flight} in flight"]
    say("queue against in process", pages_per_s=round(rate / ours["pages_per_s"], 3),
        first_text_later=round(first - alone["first_token"], 3))  # fmt: skip


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    small = {"max_model_len": 4096, "max_num_batched_tokens": 4096, "preprocess_processes": 1} if args.tiny else {}
    cores = os.cpu_count() or 2
    return {
        "engine": "benchmarks.gpu_queue:load",
        "model_path": args.model,
        "max_num_seqs": args.in_flight,
        "jobs_in_flight": 64,
        "render_processes": min(6, cores),
        "gpu_memory_utilization": args.gpu_memory,
        "preprocess_processes": min(8, cores),
        "max_pages": 10_000,
        **small,
        "vllm_args": json.dumps({**(TINY_ARGS if args.tiny else weights_of(args.model)), **args.vllm_args}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--engine", type=Path, help="what benchmarks.gpu_engine printed")
    parser.add_argument("--in-flight", type=int, default=512, help="of each worker")
    parser.add_argument("--workers", type=int, default=1, help="one for each GPU, on one queue")
    parser.add_argument("--device", type=int, default=0, help="the first worker's GPU")
    parser.add_argument("--pages", type=int, default=0, help="of the run; default: pages per slot times slots")
    parser.add_argument("--starts", type=int, default=0, help="only start a worker so many times, and say how long")
    parser.add_argument("--vllm-args", type=json.loads, default={}, help="more of AsyncEngineArgs, as JSON")
    parser.add_argument("--log", type=Path, help="where the worker's log is to go")
    parser.add_argument("--pages-per-slot", type=float, default=2.0)
    parser.add_argument("--solo", type=int, default=5)
    parser.add_argument("--longest", type=int, default=4000)
    parser.add_argument("--gpu-memory", type=float, default=0.5)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it has started ends with it
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        run(args, Path(name))


def starts(args: argparse.Namespace, folder: Path) -> None:
    """The first start fills the compile cache, unless it was warm; the others find it."""
    valkey = Valkey(folder)
    for number in range(args.starts):
        began = time.monotonic()
        worker = Worker(folder, valkey.url, f"worker-{number}", **settings_of(args))
        worker.wait_for(lambda: READY in worker.text(), 300, "a ready worker")  # noqa: B023
        say("start to ready", number=number, seconds=round(time.monotonic() - began, 1))
        worker.stop(120)
        if args.log:
            args.log.write_text(worker.text())
    valkey.stop()


def run(args: argparse.Namespace, folder: Path) -> None:
    if args.starts:
        starts(args, folder)
        return
    valkey = Valkey(folder)
    settings, began = settings_of(args), time.monotonic()
    workers = [
        Worker(folder, valkey.url, f"worker-{i}", **settings, cuda_device=str(args.device + i))
        for i in range(args.workers)
    ]
    gateway = Gateway(folder, valkey.url, **settings)
    try:
        files = documents([min(length, args.longest) for length in islice(lengths(), count_of(args))])
        gateway.wait_ready()
        for worker in workers:
            worker.wait_for(lambda: READY in worker.text(), 300, "a ready worker")  # noqa: B023
        say("queue: workers ready", workers=len(workers), seconds=round(time.monotonic() - began, 1))
        roots = {"gateway": gateway.pid, **{f"worker {i}": worker.pid for i, worker in enumerate(workers)}}
        asyncio.run(measure(args, gateway.url, {**roots, "redis": valkey.process.pid}, files))
    finally:
        if args.log:
            args.log.write_text("".join(worker.text() for worker in workers))
        for process in (*workers, gateway):
            process.stop(120)
        valkey.stop()


def count_of(args: argparse.Namespace) -> int:
    """Pages of the run: whole documents."""
    wanted = args.pages or int(args.in_flight * args.workers * args.pages_per_slot)
    return max(1, wanted // PAGES) * PAGES


if __name__ == "__main__":
    main()
