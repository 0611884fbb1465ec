"""A store full of finished pages: ``python -m benchmarks.many_pages [--pages 200000] [--document 2000]``.

Documents of so many pages are submitted to a real gateway with the limits of the compose file (4 GB for Redis, a
payload folder), and read by writers: processes that are a worker's half of the store with the instant engine, but draw
one small picture (200 x 120 pixels) once instead of each page anew, so that the run fits on a small disk. Printed:
whether a submission was refused, Redis's memory and the payload folder before, full, and after all results have
expired. Their time is brought forward; a real worker then does what it does at their expiry.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pypdfium2

from shared.boxes import page_picture
from shared.contract.document import PageResult
from shared.contract.options import Options
from shared.store import keyspace
from shared.store.connect import connect
from shared.store.results import in_turn
from tools.payloads import payloads_url
from tools.processes import Gateway, Worker
from tools.uploads import picture
from tools.valkey import Valkey, wait_until
from worker.claims import Claim, Claims
from worker.engines.base import PageImage, PageRead
from worker.engines.instant import InstantEngine
from worker.settings import WorkerSettings

MIB = 2**20
AT_ONCE = 16
MAXMEMORY = "4gb"  # of the compose file


def document(pages: int, number: int) -> bytes:
    """A PDF of so many empty pages that is unlike any other."""
    pdf = pypdfium2.PdfDocument.new()
    for page in range(pages):
        pdf.new_page(100 + number % 500, 100 + page % 50)
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


class PageWriters:
    """A worker's half of the store, for documents of which every page is the same picture."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._image = picture(1)
        self._picture = page_picture(self._image, claims.settings.page_image_quality)

    async def read(self, job_id: str) -> None:
        """Every page of one job, several at once, to its end."""
        claim = await self._claims.claim(job_id, hashlib.sha256(job_id.encode()).hexdigest()[:32])
        assert claim is not None, job_id
        await self._claims.start(claim, "instant")
        pages = range(1, claim.job.progress.pages_total + 1)
        for some in in_turn(pages, AT_ONCE):
            await asyncio.gather(*(self._page(claim, number) for number in some))
        assert await self._claims.finish(claim) == "succeeded"

    async def _page(self, claim: Claim, number: int) -> None:
        await self._claims.page_start(claim, number)
        pieces = [piece async for piece in InstantEngine(0).read(PageImage(number, self._image), Options())]
        found = pieces[-1]
        assert isinstance(found, PageRead)
        page = PageResult(
            number=number, status=found.status, width=self._image.width, height=self._image.height,
            markdown=found.markdown, blocks=found.blocks, usage=found.usage,
        )  # fmt: skip
        assert await self._claims.page_end(claim, page, self._picture)


async def write(redis_url: str, store_url: str, job_ids: list[str]) -> None:
    """Read these jobs, in this process."""
    redis = connect(redis_url, patient=True)
    settings = WorkerSettings(_env_file=None, payloads_url=store_url)
    writers = PageWriters(Claims(redis, settings, f"writer-{os.getpid()}"))
    for job_id in job_ids:
        await writers.read(job_id)
    await redis.aclose()


def sizes(valkey: Valkey, folder: Path) -> tuple[float, float, int]:
    """MiB in Redis without its connections, MiB in the payload folder, files there."""
    valkey.client.config_resetstat()
    stats = valkey.client.memory_stats()
    kept = stats["total.allocated"] - stats["clients.normal"] - stats["lua.caches"]
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return kept / MIB, sum(files) / MIB, len(files)


def keys(valkey: Valkey) -> tuple[int, int]:
    """How many there are, and their bytes: what the server itself keeps beside them changes from minute to minute."""
    found = [valkey.client.memory_usage(name, samples=0) or 0 for name in valkey.client.scan_iter(count=1000)]
    return len(found), sum(found)


def shown(moment: str, found: tuple[float, float, int]) -> None:
    redis, payloads, files = found
    print(f"{moment}: {redis:.1f} MiB in Redis, {payloads:.1f} MiB in {files} payloads", flush=True)


async def submit(url: str, pages: int, per_document: int) -> list[str]:
    """The ids of the jobs. Every submission must be taken."""
    ids = []
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for number in range(pages // per_document):
            data = document(per_document, number)
            answer = await client.post("/api/v1/jobs", files={"file": ("a.pdf", data)}, data={"cache": "false"})
            assert answer.status_code == 202, f"refused: {answer.status_code} {answer.text}"
            ids.append(answer.json()["id"])
    return ids


def expire(valkey: Valkey) -> None:
    """As if a day had passed: everything that has an end ends now, and what is written down as due is."""
    client = valkey.client
    for name in client.scan_iter(count=1000):
        if client.ttl(name) > 0:
            client.expire(name, 1)
    for due in (keyspace.CLEANUPS(), keyspace.ENDED_JOBS()):
        for member, _ in client.zscan_iter(due, count=1000):
            client.zadd(due, {member: 1})


def run(pages: int, per_document: int, writers: int) -> None:
    store_url = payloads_url()
    payloads = Path(store_url.removeprefix("file://"))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        valkey = Valkey(folder)
        valkey.client.config_set("maxmemory", MAXMEMORY)
        gateway = Gateway(folder, valkey.url, max_queue_jobs=max(10_000, pages // per_document))
        try:
            gateway.wait_ready()
            asyncio.run(write(valkey.url, store_url, asyncio.run(submit(gateway.url, per_document, per_document))))
            empty(folder, valkey)
            shown("before", before := sizes(valkey, payloads))
            keys_before = keys(valkey)
            began = time.perf_counter()
            ids = asyncio.run(submit(gateway.url, pages, per_document))
            work = [ids[at::writers] for at in range(writers)]
            commands = [
                [sys.executable, "-m", "benchmarks.many_pages", "--write", valkey.url, store_url, *its] for its in work
            ]
            running = [subprocess.Popen(command) for command in commands]
            assert [process.wait() for process in running] == [0] * writers
            took = time.perf_counter() - began
            shown(f"{pages} pages of {len(ids)} documents, none refused, in {took:.0f} s", sizes(valkey, payloads))
            empty(folder, valkey)
            shown("after expiry", after := sizes(valkey, payloads))
            print(f"Redis is at {after[0] / before[0]:.3f} of what it was, {after[2] - before[2]} payloads are left")
            print("keys and their bytes: {} and {} before, {} and {} after".format(*keys_before, *keys(valkey)))
        finally:
            gateway.stop()
            valkey.stop()


def empty(folder: Path, valkey: Valkey) -> None:
    """Everything expires, and a worker cleans it up."""
    expire(valkey)
    worker = Worker(folder, valkey.url)
    try:
        worker.wait_ready()
        for left in (keyspace.CLEANUPS(), keyspace.ENDED_JOBS()):
            wait_until(lambda key=left: not valkey.client.zcard(key), 600, f"an empty {left}")  # type: ignore[misc]
        wait_until(lambda: not valkey.client.keys("job:*"), 60, "records that have expired")
    finally:
        worker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.many_pages")
    parser.add_argument("--pages", type=int, default=200_000)
    parser.add_argument("--document", type=int, default=2000, help="pages of each document")
    parser.add_argument("--writers", type=int, default=2, help="processes that read them")
    parser.add_argument("--write", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        redis_url, store_url, *job_ids = args.write
        asyncio.run(write(redis_url, store_url, job_ids))
    else:
        run(args.pages, args.document, args.writers)


if __name__ == "__main__":
    main()
