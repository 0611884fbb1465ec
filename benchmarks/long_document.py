"""A long PDF on the CPU engine: ``python -m benchmarks.long_document FILE.pdf [--pages 1-50]``.

When the first page is there, pages/s, the peak resident memory of gateway, worker and their children for a tenth of the
pages and for all of them, and how soon after a cancel in the middle another job's page is read.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.processes import ServiceProcesses, processes
from benchmarks.soak import MIB, sample
from tools.uploads import png


class Peak:
    """The largest of what ``sample`` finds, asked five times a second."""

    def __init__(self, home: ServiceProcesses) -> None:
        self._home = home
        self.sizes: dict[str, int] = {}

    async def __aenter__(self) -> Peak:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            for name, size in (await asyncio.to_thread(sample, self._home)).items():
                self.sizes[name] = max(size, self.sizes.get(name, 0))
            await asyncio.sleep(0.2)


async def submit(client: httpx.AsyncClient, data: bytes, pages: str = "") -> dict[str, Any]:
    answer = await client.post("/api/v1/jobs", files={"file": ("a.pdf", data)}, data={"pages": pages} if pages else {})
    assert answer.status_code == 202, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def until(client: httpx.AsyncClient, job_id: str, pages: int) -> dict[str, Any]:
    while True:
        job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
        if job["completed_at"] or job["progress"]["pages_done"] >= pages:
            return job  # type: ignore[no-any-return]
        await asyncio.sleep(0.05)


async def read(client: httpx.AsyncClient, home: ServiceProcesses, data: bytes, pages: str) -> dict[str, int]:
    began = time.perf_counter()
    async with Peak(home) as peak:
        job = await submit(client, data, pages)
        await until(client, job["id"], 1)
        first = time.perf_counter() - began
        job = await until(client, job["id"], 10**9)
        took = time.perf_counter() - began
    count = job["progress"]["pages_total"]
    print(f"pages {pages}: {job['status']}, first page after {first:.1f} s, {count} pages in {took:.0f} s, "
          f"{took / count:.2f} s each; peak MiB", {k: round(v / MIB) for k, v in peak.sizes.items()})  # fmt: skip
    return peak.sizes


async def cancel_in_the_middle(client: httpx.AsyncClient, data: bytes, pages: str) -> None:
    job = await submit(client, data, pages)
    middle = await until(client, job["id"], 5)
    began = time.perf_counter()
    (await client.post(f"/api/v1/jobs/{job['id']}/cancel")).raise_for_status()
    other = await client.post("/api/v1/jobs", files={"file": ("a.png", png(1))}, headers={"Prefer": "wait=60"})
    print(f"cancelled after {middle['progress']['pages_done']} pages; another job was {other.json()['status']} "
          f"{time.perf_counter() - began:.1f} s later")  # fmt: skip


async def measure(data: bytes, pages: int, engine: str) -> None:
    with processes(engine=engine) as home:
        async with httpx.AsyncClient(base_url=home.url, timeout=120) as client:
            await read(client, home, data, "1")
            few = await read(client, home, data, f"1-{max(1, pages // 10)}")
            many = await read(client, home, data, f"1-{pages}")
            await cancel_in_the_middle(client, data, f"1-{pages}")
    print("peak with all pages / with a tenth: " + ", ".join(f"{k} {many[k] / few[k]:.2f}" for k in few))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.long_document")
    parser.add_argument("file", type=Path)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--engine", default="cpu")
    args = parser.parse_args()
    asyncio.run(measure(args.file.read_bytes(), args.pages, args.engine))


if __name__ == "__main__":
    main()
