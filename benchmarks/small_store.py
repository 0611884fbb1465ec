"""Many scans through a small Redis, then with a full disk: ``python -m benchmarks.small_store [--jobs 5000]``.

Redis has 100 MB (``maxmemory``), payloads lie in a folder, scans are JPEGs of 850 x 1100 pixels, the engine is the
instant one. Every scan must be accepted and read, however many have been. Then (as root, on Linux) the payload folder
is a small disk of its own. A file fills it up, once with ``PAYLOADS_MIN_FREE`` and once without, so that writes fail:
submissions must be answered 503 ``store-full``, and be accepted again, without a restart, once that file is gone.
Results fill it up: submissions must be accepted after the seconds of Retry-After. Exit status 1: one of these did not
hold.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from PIL import Image

from benchmarks.processes import processes
from benchmarks.service import finish, submit
from tools.payloads import payloads_url

MAXMEMORY = "100mb"
AT_ONCE = 4
DISK = 48 << 20  # bytes
SCANS = itertools.count()


def scan() -> bytes:
    """A JPEG that no other is equal to: its number stands behind its end."""
    return BASES[(number := next(SCANS)) % len(BASES)] + f"scan {number}".encode()


def drawn(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = Image.effect_noise((425, 550), 20 + seed).resize((850, 1100))
    noise.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


BASES = [drawn(seed) for seed in range(8)]


async def every_scan(jobs: int) -> bool:
    """One after another, ``AT_ONCE`` on their way."""
    with processes(instant_seconds=0, payloads_url=payloads_url()) as home:
        home.valkey.client.config_set("maxmemory", MAXMEMORY)
        answers: Counter[str] = Counter()
        began, todo, peak = time.monotonic(), iter(range(jobs)), 0
        async with httpx.AsyncClient(timeout=120) as client:

            async def caller() -> None:
                nonlocal peak
                for number in todo:
                    answer = await submit(client, home.url, scan(), "scan.jpg")
                    job = await finish(client, home.url, answer.json()["id"]) if answer.status_code == 202 else None
                    answers[job["status"] if job else f"{answer.status_code} {answer.text[:200]}"] += 1
                    if number % 100 == 0:
                        peak = max(peak, home.valkey.client.info("memory")["used_memory"])

            await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    print(f"{jobs} scans of {len(BASES[0]) // 1000} kB, {MAXMEMORY} for Redis: {dict(answers)} in "
          f"{time.monotonic() - began:.0f} s; Redis at most {peak / 2**20:.1f} MiB", flush=True)  # fmt: skip
    return answers == {"succeeded": jobs}


@contextmanager
def disk() -> Iterator[Path]:
    """A disk of its own."""
    with tempfile.TemporaryDirectory(prefix="disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


async def filled_by_others(min_free: int) -> bool:
    """A file takes the disk's room; what was accepted is read, and more is accepted, once that file is gone."""
    settings = {"instant_seconds": 0, "payloads_min_free": min_free}
    with disk() as folder, processes(payloads_url=f"file://{folder}/payloads", **settings) as home:
        async with httpx.AsyncClient(timeout=120) as client:
            accepted = [(await submit(client, home.url, scan(), "scan.jpg")).json()["id"] for _ in range(5)]
            filler = folder / "filler"
            fill(filler)
            refusals, more = await until_refused(client, home.url)
            filler.unlink()
            began, taken = time.monotonic(), None
            while taken is None and time.monotonic() - began < 60:
                answer = await submit(client, home.url, scan(), "scan.jpg")
                taken = answer.json()["id"] if answer.status_code == 202 else None
                await asyncio.sleep(0 if taken else 1)
            waited = time.monotonic() - began
            ends = Counter(
                [(await finish(client, home.url, one))["status"] for one in (*accepted, *more, taken) if one]
            )
    print(f"disk full, {min_free >> 20} MiB to stay free: {refusals}; taken again {waited:.0f} s after there was room; "
          f"accepted before, meanwhile and after: {dict(ends)}", flush=True)  # fmt: skip
    return refusals == {"503 store-full"} and taken is not None and ends == {"succeeded": len(accepted + more) + 1}


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:  # until the disk is full
            file.write(bytes(1 << 16))


async def until_refused(client: httpx.AsyncClient, url: str) -> tuple[set[str], list[str]]:
    """What three refusals say, and the jobs for which there was room before."""
    refusals: list[str] = []
    accepted: list[str] = []
    while len(refusals) < 3:
        answer = await submit(client, url, scan(), "scan.jpg")
        if answer.status_code == 202:
            accepted.append(answer.json()["id"])
        else:
            refusals.append(f"{answer.status_code} {answer.json().get('code')}")
    return set(refusals), accepted


async def filled_by_results(keep: int = 60) -> bool:
    """Results that are kept for so many seconds fill the disk: the time that a refusal names proves right."""
    settings = {"instant_seconds": 0, "payloads_min_free": DISK // 2, "result_ttl": keep}
    with disk() as folder, processes(payloads_url=f"file://{folder}/payloads", **settings) as home:
        async with httpx.AsyncClient(timeout=120) as client:
            while (answer := await submit(client, home.url, scan(), "scan.jpg")).status_code == 202:
                await finish(client, home.url, answer.json()["id"])
            wait = int(answer.headers["retry-after"])
            early = await submit(client, home.url, scan(), "scan.jpg")
            await asyncio.sleep(wait)
            later = await submit(client, home.url, scan(), "scan.jpg")
    print(f"disk full of results that are kept for {keep} s: {answer.json().get('code')}, Retry-After {wait} s; "
          f"at once {early.status_code}, after so many seconds {later.status_code}", flush=True)  # fmt: skip
    return (answer.status_code, early.status_code, later.status_code) == (503, 503, 202) and wait <= keep + 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.small_store")
    parser.add_argument("--jobs", type=int, default=5000)
    args = parser.parse_args()
    trials = (every_scan(args.jobs), filled_by_others(8 << 20), filled_by_others(0), filled_by_results())
    held = [asyncio.run(trial) for trial in trials]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
