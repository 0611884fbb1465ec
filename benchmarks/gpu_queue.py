"""DeepSeek-OCR through HTTP and queue, against the same engine in process: run right after ``benchmarks.gpu_engine``.

    python3 -m benchmarks.gpu_engine MODEL ... | tee engine.jsonl
    python3 -m benchmarks.gpu_queue MODEL --engine engine.jsonl [--in-flight 256]

The same kind of pages (A4, lengths drawn from the same distribution, marked on the page itself so that they are the
same whatever the order), as PDFs of 16 pages each. One JSON object a line; all times in seconds.
``ENGINE=benchmarks.gpu_queue:load`` is the engine of ``benchmarks.gpu_engine`` that reads the marks.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw

from benchmarks.gpu_engine import DISTINCT_PAGES, TINY_ARGS, WANTED, draw_page, lengths, said, say, weights_of
from benchmarks.gpu_engine import load as load_endless
from shared.contract.options import Options
from shared.settings import Settings
from tools.processes import Gateway, Worker
from tools.valkey import Valkey
from worker.engines.base import PageImage, Piece

BITS = 12
MARK, STEP, TOP = 24, 60, 16  # pixels: side of a mark, from mark to mark, from the page's top
PAGES = 16  # of one document


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


async def load(settings: Settings) -> Any:
    engine = await load_endless(settings)
    plain = engine.read

    async def read(page: PageImage, options: Options) -> AsyncIterator[Piece]:
        WANTED.set(max(1, mark_of(page.image)))
        async for piece in plain(page, options):
            yield piece

    engine.read = read
    return engine


def document(pages: list[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=150, quality=85)
    return buffer.getvalue()


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


async def crowd(client: httpx.AsyncClient, documents: list[bytes]) -> tuple[float, list[dict[str, Any]]]:
    began = time.monotonic()
    jobs = []
    for data in documents:
        answer = await client.post("/api/v1/jobs", files={"file": ("a.pdf", data)})
        answer.raise_for_status()
        jobs.append(answer.json())
    jobs = await asyncio.gather(*(ended(client, job) for job in jobs))
    return time.monotonic() - began, jobs


async def measure(args: argparse.Namespace, url: str) -> None:
    pages = [draw_page(seed) for seed in range(DISTINCT_PAGES)]
    drawn = (min(length, args.longest) for length in lengths())
    count = int(args.in_flight * args.pages_per_slot)
    documents = [document([marked(page, next(drawn)) for page in pages[:PAGES]]) for _ in range(max(1, count // PAGES))]
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        warm = document([marked(page, min(200, args.longest)) for page in pages])
        await crowd(client, [warm] * 2)
        solo = png(marked(pages[0], min(300, args.longest)))
        first = [await first_text(client, solo) for _ in range(args.solo + 1)][1:]
        wall, jobs = await crowd(client, documents)
    statuses = sorted({job["status"] for job in jobs})
    read = sum(job["progress"]["pages_done"] for job in jobs)
    tokens = sum(job["usage"]["completion_tokens"] for job in jobs)
    rate = read / wall
    middle = {name: round(statistics.median(one[name] for one in first), 3) for name in first[0]}
    say("queue: one page alone", **middle)
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
        "render_processes": min(4, cores),
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
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--starts", type=int, default=0, help="only start a worker so many times, and say how long")
    parser.add_argument("--vllm-args", type=json.loads, default={}, help="more of AsyncEngineArgs, as JSON")
    parser.add_argument("--log", type=Path, help="where the worker's log is to go")
    parser.add_argument("--pages-per-slot", type=float, default=2.0)
    parser.add_argument("--solo", type=int, default=5)
    parser.add_argument("--longest", type=int, default=4000)
    parser.add_argument("--gpu-memory", type=float, default=0.5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run(args, Path(name))


def starts(args: argparse.Namespace, folder: Path) -> None:
    """The first start fills the compile cache, unless it was warm; the others find it."""
    valkey = Valkey(folder)
    for number in range(args.starts):
        began = time.monotonic()
        worker = Worker(folder, valkey.url, f"worker-{number}", **settings_of(args))
        worker.wait_for(lambda: " ready." in worker.text(), 300, "a ready worker")  # noqa: B023
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
    worker = Worker(folder, valkey.url, **settings)
    gateway = Gateway(folder, valkey.url, **settings)
    try:
        gateway.wait_ready()
        worker.wait_for(lambda: " ready." in worker.text(), 300, "a ready worker")
        say("queue: worker ready", seconds=round(time.monotonic() - began, 1))
        asyncio.run(measure(args, gateway.url))
    finally:
        if args.log:
            args.log.write_text(worker.text())
        for process in (worker, gateway):
            process.stop(120)
        valkey.stop()


if __name__ == "__main__":
    main()
