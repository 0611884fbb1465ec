"""Debian's ``prometheus`` as a process of its own that scrapes gateways."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from shared.process import bound_to_parent
from tools.valkey import free_port, wait_until

TIMEOUT: Final = 10.0


class Prometheus:
    """``targets``: HOST:PORT of each gateway. ``rules``: the text of a file of rules. Ends with this process."""

    def __init__(self, folder: Path, targets: Sequence[str], *, interval: str = "1s", rules: str = "") -> None:
        (folder / "rules.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yml"] if rules else [],
            "scrape_configs": [{"job_name": "ocr-gateway", "static_configs": [{"targets": list(targets)}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML, too
        self.port = free_port()
        command = [
            needed(), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]  # fmt: skip
        with (folder / "prometheus.log").open("wb") as log:
            self._popen = subprocess.Popen(
                bound_to_parent(command, signal.SIGKILL, os.getpid()), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_ready, 60, "a ready Prometheus")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=TIMEOUT).is_success
        except httpx.TransportError:
            return False

    def ask(self, path: str, **params: str) -> Any:
        """``data`` of an answer of its API."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=params, timeout=TIMEOUT)
        return answer.raise_for_status().json()["data"]

    def value(self, query: str, at: float | None = None) -> float:
        """Of a query that has one result, or 0 where it has none. ``at``: seconds since the epoch."""
        moment = {} if at is None else {"time": repr(at)}
        results = self.ask("query", query=query, **moment)["result"]
        return float(results[0]["value"][1]) if results else 0.0

    def stop(self) -> None:
        self._popen.terminate()
        self._popen.wait()


def needed() -> str:
    """The program's path; ends the benchmark where there is none."""
    path = shutil.which("prometheus")
    if path is None:
        sys.exit("Debian's package prometheus is missing")
    return path
