"""Processes for measurements: valkey, one gateway and one worker with the instant engine, all on free ports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tools.processes import Gateway, Process, Worker
from tools.valkey import Valkey


@dataclass
class ServiceProcesses:
    valkey: Valkey
    gateway: Gateway
    worker: Worker

    @property
    def url(self) -> str:
        return self.gateway.url

    def cpu_seconds(self) -> float:
        """Of gateway and worker."""
        return cpu_seconds(self.gateway.pid, self.worker.pid)


def cpu_seconds(*pids: int) -> float:
    """Of processes, with their children that have ended and their helper processes."""
    total = 0.0
    for pid in pids:
        its = psutil.Process(pid)
        times = [its.cpu_times(), *(child.cpu_times() for child in its.children(recursive=True))]
        # A sandbox ends after 1,000 calls: without its time a burst of jobs would seem to have taken less than nothing.
        total += sum(one.user + one.system + one.children_user + one.children_system for one in times)
    return total


@contextmanager
def processes(**settings: Any) -> Iterator[ServiceProcesses]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        valkey = Valkey(folder)
        processes: list[Process] = []
        try:
            processes.append(gateway := Gateway(folder, valkey.url, **settings))
            processes.append(worker := Worker(folder, valkey.url, **settings))
            gateway.wait_ready()
            # Its log may be off.
            worker.wait_for(lambda: httpx.get(f"{gateway.url}/health", timeout=5).is_success, 60, "a ready worker")
            yield ServiceProcesses(valkey, gateway, worker)
        finally:
            for process in processes:
                process.stop(60)
            valkey.stop()


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
