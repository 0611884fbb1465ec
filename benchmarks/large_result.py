"""The gateway's memory while something large passes through: ``python -m benchmarks.large_result [--pages N]``.

A job of so many pages with a picture and a figure each is written into the store as a worker would. Then one real
gateway, warmed up with a small document, hands it out in every format, three times each, and its peak resident memory
(``VmHWM``) is read before and after: by how much it grows is printed, and how much was sent. The same for a PDF of
``--upload`` MB that is submitted three times.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import tempfile
import time
from pathlib import Path

import httpx
import pypdfium2

from shared.contract.document import Figure, PageBlock, PageResult, PageStatus, figure_name
from shared.settings import StoreSettings
from shared.store.connect import connect
from shared.store.jobs import Store
from tools.payloads import payloads_url
from tools.processes import Gateway
from tools.uploads import submit, tiff
from tools.valkey import Valkey
from worker.claims import Claims
from worker.settings import WorkerSettings

MIB = 2**20
TIMES = 3
FORMATS = ("md", "json", "html", "txt", "zip")
TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n\n" * 12
TABLE = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 10


def page_of(number: int) -> PageResult:
    """About as large as a full page of a book with a table."""
    name = figure_name(number, 0)
    markdown = f"# Page {number}\n\n{TEXT}{TABLE}\n![](images/{name})"
    blocks = tuple(PageBlock(type="text", bbox=(0, 0, 9, 9), text=text) for text in TEXT.split("\n\n") if text)
    table = PageBlock(type="table", bbox=(0, 0, 9, 9), text=TABLE)
    return PageResult(
        number=number, status=PageStatus.OK, width=1600, height=2200, markdown=markdown, blocks=(*blocks, table),
        figures=(Figure(name=name, bbox=(0, 0, 9, 9)),),
    )  # fmt: skip


async def written(redis_url: str, store_url: str, pages: int, figure: int) -> str:
    """A finished job of such pages, its figures of ``figure`` bytes that do not shrink; its id."""
    redis = connect(redis_url, patient=True)
    settings = WorkerSettings(_env_file=None, payloads_url=store_url)
    claims = Claims(redis, settings, "writer")
    store = Store(redis, StoreSettings(_env_file=None, payloads_url=store_url))
    job_id = await submit(store, tiff([1]), "image/tiff", pages)
    claim = await claims.claim(job_id, "written")
    assert claim is not None
    await claims.start(claim, "instant")
    source = random.Random(figure)

    async def end(number: int) -> None:
        await claims.page_start(claim, number)
        page = page_of(number)
        await claims.page_end(claim, page, b"webp", [(page.figures[0].name, source.randbytes(figure))])

    for first in range(1, pages + 1, 16):
        await asyncio.gather(*(end(number) for number in range(first, min(pages + 1, first + 16))))
    assert await claims.finish(claim) == "succeeded"
    await redis.aclose()
    return job_id


def peak(pid: int) -> int:
    """The most resident memory the process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def fetch(client: httpx.AsyncClient, job_id: str, kind: str) -> int:
    """Bytes of the result."""
    size = 0
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/result", params={"format": kind}) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_raw():
            size += len(piece)
    return size


async def measure(pages: int, figure: int, store_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        valkey = Valkey(Path(name))
        small = await written(valkey.url, store_url, 3, figure)
        large = await written(valkey.url, store_url, pages, figure)
        try:
            for kind in FORMATS:
                await measure_one(Path(name), valkey.url, store_url, small, large, kind)
        finally:
            valkey.stop()


async def measure_one(folder: Path, redis_url: str, store_url: str, small: str, large: str, kind: str) -> None:
    """In a gateway of its own: a peak never falls."""
    gateway = Gateway(folder, redis_url, f"gateway-{kind}", payloads_url=store_url)
    try:
        gateway.wait_ready()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=300) as client:
            for _ in range(TIMES):
                await fetch(client, small, kind)
            before, began = peak(gateway.pid), time.perf_counter()
            sizes = {await fetch(client, large, kind) for _ in range(TIMES)}
            took = (time.perf_counter() - began) / TIMES
            after = peak(gateway.pid)
    finally:
        gateway.stop()
    assert len(sizes) == 1, sizes
    print(f"{kind:4}: {sizes.pop() / MIB:6.1f} MiB sent in {took:.1f} s; the gateway's peak was {before / MIB:.1f} MiB "
          f"with 3 pages and then {after / MIB:.1f} MiB: +{(after - before) / MIB:.1f} MiB", flush=True)  # fmt: skip


def pdf(size: int) -> bytes:
    """One empty page, and an attachment of so many bytes."""
    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 200)
    document.new_attachment("large").set_data(random.Random(size).randbytes(size))
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


async def measure_upload(size: int, store_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        valkey = Valkey(Path(name))
        gateway = Gateway(Path(name), valkey.url, payloads_url=store_url)
        try:
            gateway.wait_ready()
            async with httpx.AsyncClient(base_url=gateway.url, timeout=300) as client:

                async def submitted(data: bytes) -> None:
                    answer = await client.post("/api/v1/jobs", files={"file": ("a.pdf", data)})
                    assert answer.status_code == 202, answer.text

                for _ in range(TIMES):
                    await submitted(pdf(1000))
                before, data = peak(gateway.pid), pdf(size)
                for _ in range(TIMES):
                    await submitted(data)
                grown = (peak(gateway.pid) - before) / MIB
        finally:
            gateway.stop()
            valkey.stop()
    print(f"a PDF of {len(data) / MIB:.1f} MiB, {TIMES} times: the gateway's peak grew by {grown:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.large_result")
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--figure", type=int, default=100, help="KB of each figure")
    parser.add_argument("--upload", type=int, default=95, help="MB of the PDF")
    parser.add_argument("--redis", action="store_true", help="everything in Redis, without a payload store")
    args = parser.parse_args()
    store_url = "redis:" if args.redis else payloads_url()
    asyncio.run(measure_upload(args.upload * 1_000_000, store_url))
    print(f"{args.pages} pages with a figure of {args.figure} KB each, {TIMES} times in every format")
    asyncio.run(measure(args.pages, args.figure * 1000, store_url))


if __name__ == "__main__":
    main()
