"""Redis away or frozen: every route says so within five seconds, nothing hangs, and it works again afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.conftest import make_settings
from tests.integration.conftest import Kept, client_of
from tests.integration.test_gateway_jobs import JOBS, job_of
from tools.uploads import png
from tools.valkey import Valkey

FILE = {"file": ("a.png", png(1))}
ROUTES = [
    ("GET", JOBS), ("POST", JOBS), ("GET", f"{JOBS}/ID"), ("DELETE", f"{JOBS}/ID"), ("GET", f"{JOBS}/ID?wait=30"),
    ("GET", f"{JOBS}/ID/result"), ("GET", f"{JOBS}/ID/pages/1"), ("GET", f"{JOBS}/ID/pages/1/image"),
    ("GET", f"{JOBS}/ID/events"), ("POST", f"{JOBS}/ID/cancel"), ("GET", f"{JOBS}/ID/images/1_0.jpg"),
    ("POST", "/api/v1/batches"), ("GET", "/api/v1/batches/ID"), ("POST", "/api/v1/ocr"),
    ("GET", "/health"), ("GET", "/models"), ("GET", "/readyz"),
]  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("away"))
    yield server
    server.stop()


async def ask(api: httpx.AsyncClient, method: str, path: str, job_id: str) -> tuple[int, str, float]:
    started = time.monotonic()
    answer = await api.request(method, path.replace("ID", job_id), files=FILE if method == "POST" else None)
    assert "retry-after" in answer.headers or path == "/health", path
    return answer.status_code, answer.json().get("code", answer.json().get("status")), time.monotonic() - started


async def everything_is_refused(api: httpx.AsyncClient, job_id: str) -> None:
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(ask(api, method, path, job_id) for method, path in ROUTES))
    for (status, code, seconds), route in zip(answers, ROUTES, strict=True):
        assert (status, code) == (503, "unhealthy" if route[1] == "/health" else "store-unavailable"), route
        assert seconds < 5.0, route
    assert "ocr_store_up 0.0" in (await api.get("/metrics")).text
    assert (await api.get("/livez")).status_code == 200


@pytest.fixture
async def api(own: Valkey, inspector: Kept) -> AsyncIterator[httpx.AsyncClient]:
    life = client_of(make_settings(own.url))
    life.app.state.services.inspector = inspector
    async with life as client:
        yield client


async def test_frozen_redis_is_answered_with_503_in_time(own: Valkey, api: httpx.AsyncClient) -> None:
    job_id = await job_of(api)
    own.signal(signal.SIGSTOP)
    try:
        await everything_is_refused(api, job_id)
    finally:
        own.signal(signal.SIGCONT)
    await works_again(api, job_id)


async def test_redis_gone_is_answered_with_503_and_works_once_it_is_back(own: Valkey, api: httpx.AsyncClient) -> None:
    own.client.config_set("appendfsync", "always")
    job_id = await job_of(api)
    own.stop()
    try:
        await everything_is_refused(api, job_id)
    finally:
        own.start()
    await works_again(api, job_id)


async def works_again(api: httpx.AsyncClient, job_id: str) -> None:
    assert (await api.get(f"{JOBS}/{job_id}")).json()["status"] == "queued"
    assert await job_of(api, data=png(2))


async def test_a_store_that_takes_no_writes_is_unavailable_for_submissions(own: Valkey, api: httpx.AsyncClient) -> None:
    own.client.config_set("min-replicas-to-write", 1)
    try:
        answer = await api.post(JOBS, files=FILE)
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
    finally:
        own.client.config_set("min-replicas-to-write", 0)
