"""Load at the edges of one gateway: ``python -m benchmarks.edges``.

Two thousand connections that say nothing, five hundred readers of events, fifty readers that read nothing, uploads
that stop in the middle, and floods of headers and URLs of hundreds of megabytes. For each: the gateway's resident
memory, and how long others wait for ``/livez`` and a job of one page, beside the same without load.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import psutil

from benchmarks.processes import ServiceProcesses, processes, quantile
from tools.uploads import png, tiff

MIB = 2**20
PROBES = 25
PAGE_SECONDS = 0.2
PAGES = 300
Writers = list[asyncio.StreamWriter]


async def connections(home: ServiceProcesses, count: int, request: bytes = b"") -> Writers:
    """So many connections that have sent ``request``; what is answered waits unread."""
    writers: Writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", home.gateway.port, limit=1)
        writer.write(request)
        writers.append(writer)
    return writers


async def long_job(home: ServiceProcesses) -> str:
    """A job that is read for half a minute, at the least priority."""
    async with httpx.AsyncClient(timeout=300) as client:
        answer = await client.post(
            f"{home.url}/api/v1/jobs", files={"file": ("a.tiff", tiff(range(PAGES)))}, data={"priority": "low"}
        )
        return str(answer.json()["id"])


async def flood(home: ServiceProcesses, start: bytes, piece: bytes, megabytes: int) -> str:
    """Send without end; what came of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.gateway.port)
    answer = asyncio.create_task(reader.readline())
    sent = 0
    try:
        writer.write(start)
        while sent < megabytes * MIB and not answer.done():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        async with asyncio.timeout(30):
            line = (await answer).decode().strip()
    except (ConnectionError, TimeoutError) as error:
        line = type(error).__name__
    finally:
        writer.transport.abort()
    return f"{line} after {sent / MIB:.1f} MiB"


async def waits(home: ServiceProcesses) -> tuple[float, float]:
    """Median and ninth decile of the seconds that ``/livez`` and a small job take together."""
    took = []
    async with httpx.AsyncClient(timeout=300) as client:
        for seed in range(PROBES):
            began = time.perf_counter()
            assert (await client.get(f"{home.url}/livez")).is_success
            answer = await client.post(
                f"{home.url}/api/v1/jobs", files={"file": ("a.png", png(seed))}, headers={"Prefer": "wait=30"}
            )
            assert answer.is_success, answer.text
            took.append(time.perf_counter() - began)
    return quantile(took, 0.5), quantile(took, 0.9)


@asynccontextmanager
async def held(opening: Awaitable[Writers]) -> AsyncIterator[None]:
    writers = await opening
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


def resident(home: ServiceProcesses) -> float:
    return psutil.Process(home.gateway.pid).memory_info().rss / MIB


async def under(home: ServiceProcesses, name: str, opening: Callable[[], Awaitable[Writers]], before: float) -> None:
    async with held(opening()):
        await asyncio.sleep(2)
        half, most = await waits(home)
        print(f"  {name:38} {resident(home):7.1f} MiB, {half / before:5.2f} x the time, p90 {most:.3f} s")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384) if hard > 0 else 16_384, hard))
    with processes(instant_seconds=PAGE_SECONDS, pages_in_flight=2) as home:
        await waits(home)
        before, most = await waits(home)
        print(f"  {'without load':38} {resident(home):7.1f} MiB,  1.00 x the time, p90 {most:.3f} s")
        post = b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        stopped = (
            post
            + b'Content-Length: 1000000\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        )
        events = get(f"/api/v1/jobs/{await long_job(home)}/events")
        big = get("/openapi.json") * 400
        for name, count, request in (
            ("500 readers of a job's events", 500, events),
            ("2,000 connections that say nothing", 2000, b""),
            ("50 readers of 20 MiB that do not read", 50, big),
            ("200 uploads that stopped", 200, stopped + b"x" * 500_000),
        ):
            await under(home, name, lambda count=count, request=request: connections(home, count, request), before)  # type: ignore[misc]
        for name, start, piece, size in (
            ("a header of 300 MiB", b"GET / HTTP/1.1\r\nX: ", b"y" * 65_536, 300),
            ("a URL of 100 MiB", b"GET /", b"y" * 65_536, 100),
            ("1.5 million headers", b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000, 9),
        ):
            said = await flood(home, start, piece, size)
            print(f"  {name:38} {resident(home):7.1f} MiB, {said}")
        half, most = await waits(home)
        print(f"  {'afterwards':38} {resident(home):7.1f} MiB, {half / before:5.2f} x the time, p90 {most:.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
