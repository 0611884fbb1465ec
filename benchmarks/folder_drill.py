"""``ocr -r folder -o out`` over 500 files: gateway killed twice, Ctrl-C and the same command again in between.

``python -m benchmarks.folder_drill [--files 500]``: a real store, gateway and worker with the instant engine. Prints
what was found and exits with 1 unless every file has its result, none was uploaded twice and the command stayed below
150 MiB.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psutil
from PIL import Image

from benchmarks.processes import ServiceProcesses, processes
from tools.processes import environment
from tools.valkey import ROOT

MOST_MEBIBYTES: Final = 150
INTERRUPTED: Final = 130
OUTAGE_SECONDS: Final = 2.0
PAGE_SECONDS: Final = 0.05


@dataclass
class Command:
    """One run of the command. ``peak``: the most resident memory it has had, in MiB."""

    service: ServiceProcesses
    source: Path
    out: Path
    log: Path
    peak: float = 0.0
    popen: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> Command:
        line = [sys.executable, "-m", "ocr_client.cli", "-r", str(self.source), "-o", str(self.out)]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(line, cwd=ROOT, env=environment(ocr_url=self.service.url), stderr=log)
        return self

    def watch(self, results: int | None = None) -> int | None:
        """Until there are so many results, or its end, whose exit code is returned."""
        process = psutil.Process(self.popen.pid)
        while (code := self.popen.poll()) is None:
            try:
                self.peak = max(self.peak, process.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                continue
            if results is not None and len(list(self.out.glob("*.md"))) >= results:
                return None
            time.sleep(0.05)
        return code


def make_files(folder: Path, files: int) -> None:
    """Pictures of noise, about 100 kB each, no two alike."""
    for number in range(files):
        noise = Image.effect_noise((320, 320), 60)
        noise.putpixel((0, 0), number % 256)
        noise.save(folder / f"{number:04}.png")


def kill_and_restart(service: ServiceProcesses) -> None:
    service.gateway.kill()
    time.sleep(OUTAGE_SECONDS)
    service.gateway.start()


def drill(service: ServiceProcesses, folder: Path, files: int) -> dict[str, object]:
    """What was seen, by name."""
    source, out = folder / "in", folder / "out"
    source.mkdir()
    out.mkdir()
    make_files(source, files)
    first = Command(service, source, out, folder / "first.log").start()
    started = time.monotonic()
    first.watch(files // 5)
    kill_and_restart(service)
    first.watch(2 * files // 5)
    first.popen.send_signal(signal.SIGINT)
    interrupted = first.watch()
    left = len(list(out.glob("*.md")))
    second = Command(service, source, out, folder / "second.log").start()
    second.watch(7 * files // 10)
    kill_and_restart(service)
    code = second.watch()
    results = [path for path in out.glob("*.md") if path.read_text().startswith("# A page of")]
    posts, events = counted(service.gateway.log)
    return {
        "files": files,
        "results": len(results),
        "results at Ctrl-C": left,
        "exit codes": [interrupted, code],
        "jobs in the store": int(service.valkey.client.hget("counters", "submitted") or 0),
        "submissions answered with 202": posts[202],
        "submissions answered otherwise": sum(posts.values()) - posts[202],
        "uploads of what was there already": events["job.replayed"],
        "peak of the command, MiB": round(max(first.peak, second.peak), 1),
        "seconds": round(time.monotonic() - started, 1),
        "what the first run said last": first.log.read_text().splitlines()[-2:],
    }


def counted(log: Path) -> tuple[Counter[int], Counter[str]]:
    """From the gateway's log: submissions by status, events by name."""
    posts, events = Counter[int](), Counter[str]()
    for text in log.read_text().splitlines():
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        events[line["event"]] += 1
        if line.get("method") == "POST" and line.get("route") == "/api/v1/jobs":
            posts[line["status"]] += 1
    return posts, events


def held(seen: dict[str, object]) -> bool:
    return (
        seen["results"] == seen["jobs in the store"] == seen["files"]
        and seen["exit codes"] == [INTERRUPTED, 0]
        and seen["uploads of what was there already"] == 0
        and float(str(seen["peak of the command, MiB"])) < MOST_MEBIBYTES
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    files: int = parser.parse_args().files
    with TemporaryDirectory(prefix="folder-drill-") as name:
        settings = {"log_format": "json", "instant_seconds": PAGE_SECONDS}
        with processes(**settings) as service:
            seen = drill(service, Path(name), files)
    for what, value in seen.items():
        print(f"{what:36} {value}")
    return 0 if held(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
