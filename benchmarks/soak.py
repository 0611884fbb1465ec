"""Constant load for a while, and the memory of everything: ``python -m benchmarks.soak --minutes 10 [--jobs N]``.

Resident memory of gateway, worker and their children, and Redis's used memory, sampled every second; the growth from
the first thousand jobs (or a tenth of them) to the end, and the slope in MiB per thousand jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterable

import httpx
import psutil

from benchmarks.processes import ServiceProcesses, processes
from tools.uploads import png, tiff

MIB = 2**20
AT_ONCE = 16


def resident(pid: int) -> dict[str, int]:
    """Resident bytes of a process and, summed, of its children."""
    process = psutil.Process(pid)
    children = sum(_rss(child) for child in process.children(recursive=True))
    return {"itself": _rss(process), "children": children}


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def contents(home: ServiceProcesses) -> dict[str, int]:
    """Of Redis: its keys, and the used memory without connections, cached scripts and its statistics.

    The statistics alone keep a histogram of some 50 KiB for every command that was ever used.
    """
    home.valkey.client.config_resetstat()
    stats = home.valkey.client.memory_stats()
    kept = stats["total.allocated"] - stats["clients.normal"] - stats["lua.caches"]
    return {"bytes": int(kept), "keys": home.valkey.client.dbsize()}


def sample(home: ServiceProcesses) -> dict[str, int]:
    found = {"redis": home.valkey.client.info("memory")["used_memory"]}
    for name, process in (("gateway", home.gateway), ("worker", home.worker)):
        found |= {f"{name} {part}": size for part, size in resident(process.pid).items()}
    return found


class Load:
    """Submits one- and three-page documents, so many at once, and waits for each."""

    def __init__(self, home: ServiceProcesses, until: float, jobs: int | None) -> None:
        self.home, self.until, self.jobs = home, until, jobs
        self.begun = self.ended = 0

    def more(self) -> bool:
        return self.begun < self.jobs if self.jobs else time.monotonic() < self.until

    async def run(self, client: httpx.AsyncClient) -> None:
        while self.more():
            self.begun += 1
            seed = self.begun * 10
            data, name = (tiff([seed, seed + 1, seed + 2]), "a.tiff") if seed % 50 == 0 else (png(seed), "a.png")
            answer = await client.post(
                f"{self.home.url}/api/v1/jobs", files={"file": (name, data)}, headers={"Prefer": "wait=60"}
            )
            assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
            assert answer.json()["status"] == "succeeded", answer.text[:500]
            self.ended += 1


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Least-squares slope of y over x."""
    xs, ys = zip(*points, strict=True)
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((a - x) ** 2 for a in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0


async def soak(minutes: float, jobs: int | None) -> None:
    with processes(result_ttl=5, idempotency_ttl=5) as home:
        before = contents(home)
        load = Load(home, time.monotonic() + minutes * 60, jobs)
        series: list[tuple[int, dict[str, int]]] = []
        async with httpx.AsyncClient(timeout=90, limits=httpx.Limits(max_connections=AT_ONCE)) as client:
            running = [asyncio.create_task(load.run(client)) for _ in range(AT_ONCE)]
            while not all(task.done() for task in running):
                series.append((load.ended, await asyncio.to_thread(sample, home)))
                await asyncio.sleep(1)
            await asyncio.gather(*running)
        warm = min(1000, load.ended // 10)
        settled = [(done, sizes) for done, sizes in series if done >= warm]
        print(f"{load.ended} jobs; MiB after {settled[0][0]} jobs -> at the end (growth), slope per 1,000 jobs")
        for name in settled[0][1]:
            first, last = settled[0][1][name], settled[-1][1][name]
            growth = slope([(done / 1000, sizes[name] / MIB) for done, sizes in settled])
            print(f"  {name:17} {first / MIB:7.1f} -> {last / MIB:7.1f} ({last / first - 1:+.1%}), {growth:+.3f}")
        await asyncio.sleep(12)  # every record has expired by then
        after = await asyncio.to_thread(contents, home)
        print(f"  redis, all records expired: {before['bytes'] / MIB:.2f} MiB in {before['keys']} keys before, "
              f"{after['bytes'] / MIB:.2f} MiB in {after['keys']} keys after")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, help="so many jobs instead of so many minutes")
    args = parser.parse_args()
    asyncio.run(soak(args.minutes, args.jobs))


if __name__ == "__main__":
    main()
