"""What every test may ask for: a real Redis-compatible server of its own, and settings that name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.payloads.folder import FolderPayloads
from shared.payloads.opening import open_payloads
from shared.store.connect import connect
from shared.store.jobs import Store
from tests.settings import Settings
from tools.payloads import payloads_url
from tools.valkey import Valkey
from worker.claims import Claims


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
    given = {"redis_url": url, "engine": "instant", "payloads_url": payloads_url(), **more}
    if isinstance(payloads := open_payloads(given["payloads_url"]), FolderPayloads):
        payloads.make()  # as the start of a process does
    return Settings(_env_file=None, **given)


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
    """Start real workers (a ``tools.processes.Worker`` each, settings as arguments); they are killed after the test."""
    from tools.processes import Worker

    workers: list[Worker] = []

    def start(**settings: Any) -> Worker:
        url = settings.pop("redis_url", valkey.url)
        workers.append(Worker(tmp_path, url, f"worker-{len(workers)}", **{"lease": 2, **settings}))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
