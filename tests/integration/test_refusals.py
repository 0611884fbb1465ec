"""What the store says when it cannot serve has one meaning for callers, and a worker keeps its work meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.api import ocr
from gateway.streaming import sse
from shared.errors import StoreFull, StoreUnavailable
from shared.store import connect as connections
from shared.store.connect import connect, store_errors
from tests.chaos.faults import REFUSALS
from tests.chaos.proxy import Fate, StoreProxy, pass_all
from tests.conftest import make_settings
from tests.integration.conftest import Kept, Script, client_of
from tests.integration.test_gateway_jobs import JOBS, job_of
from tools.uploads import png
from tools.valkey import Valkey

FILE = {"file": ("a.png", png(1))}
ROUTES = [
    ("GET", JOBS), ("POST", JOBS), ("GET", f"{JOBS}/ID"), ("DELETE", f"{JOBS}/ID"), ("GET", f"{JOBS}/ID?wait=30"),
    ("GET", f"{JOBS}/ID/result"), ("GET", f"{JOBS}/ID/events"), ("POST", f"{JOBS}/ID/cancel"),
    ("POST", "/api/v1/batches"), ("GET", "/api/v1/batches/ID"), ("POST", "/api/v1/ocr"), ("GET", "/readyz"),
    ("GET", f"{JOBS}/ID/deliveries"), ("GET", "/models"),
]  # fmt: skip
FURTHER = [
    b"-ERR user_script:7: attempt to index a nil value script: 0123, on @user_script:7.",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value",
    b"-NOREPLICAS Not enough good replicas to write.",
    b"-ERR Error running script (call to f_0123): @user_script:5: -OOM command not allowed when used memory > 'max'.",
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    b":not a number",
]


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[StoreProxy]:
    made = await StoreProxy(valkey.port).start()
    yield made
    await made.close()


@pytest.fixture
async def api(proxy: StoreProxy, inspector: Kept) -> AsyncIterator[httpx.AsyncClient]:
    life = client_of(make_settings(proxy.url))
    life.app.state.services.inspector = inspector
    async with life as client:
        yield client


@pytest.mark.parametrize("refusal", [*REFUSALS, *FURTHER], ids=lambda refusal: refusal.split()[0].decode())
async def test_every_refusal_is_a_503_and_passes(api: httpx.AsyncClient, proxy: StoreProxy, refusal: bytes) -> None:
    job_id = await job_of(api)
    proxy.rule = lambda _request: Fate(refuse=refusal + b"\r\n")

    async def ask(method: str, path: str) -> None:
        answer = await api.request(method, path.replace("ID", job_id), files=FILE if method == "POST" else None)
        expected = "store-full" if b"OOM" in refusal else "store-unavailable"
        assert (answer.status_code, answer.json()["code"]) == (503, expected), (method, path, answer.text)
        assert "retry-after" in answer.headers, path

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask(*route) for route in ROUTES))
    proxy.rule = pass_all
    assert (await api.get(f"{JOBS}/{job_id}")).json()["status"] == "queued"


async def test_uploads_that_overshoot_maxmemory_are_503(inspector: Kept, valkey: Valkey) -> None:
    """The share of memory is looked up once a second: what is submitted in between meets the store's own limit."""
    life = client_of(make_settings(valkey.url))
    life.app.state.services.inspector = inspector
    async with life as api:
        life.app.state.services.store.stats._memory = (time.monotonic() + 60, 0.0)
        valkey.client.config_set("maxmemory", "1mb")
        try:
            answers = await asyncio.gather(*(api.post(JOBS, files=FILE) for _ in range(10)))
        finally:
            valkey.client.config_set("maxmemory", "0")
        found = {(answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in answers}
        assert found == {(503, "store-full", "3600")}
        assert await job_of(api)


async def test_events_go_on_after_a_refusal(proxy: StoreProxy, inspector: Kept) -> None:
    """The shared read is refused for a while; whoever follows a job hears of its end all the same."""
    life = client_of(make_settings(proxy.url))
    services = life.app.state.services
    services.inspector = inspector
    async with life as api:
        job_id = await job_of(api)
        following = asyncio.create_task(api.get(f"{JOBS}/{job_id}/events"))
        while not services.hub._watched:
            await asyncio.sleep(0.01)
        refused: list[bytes] = []

        def refuse(request: list[bytes]) -> Fate:
            refused.append(request[0])
            return Fate(refuse=b"-BUSY Redis is busy running a script.\r\n")

        proxy.rule = refuse
        async with asyncio.timeout(20):
            while b"XREAD" not in refused:
                await asyncio.sleep(0.01)
            proxy.rule = pass_all
            assert (await api.post(f"{JOBS}/{job_id}/cancel")).status_code == 202
            answer = await following
        names = [line for line in answer.text.splitlines() if line.startswith("event:")]
        assert names[-1] == "event: done"


@pytest.mark.parametrize("path", ["ocr", "events"])
async def test_a_stream_is_whole_though_no_event_was_heard(
    proxy: StoreProxy, inspector: Kept, script: Script, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The shared read fails all the time: what a look at the job finds ended is read from the store."""
    monkeypatch.setattr(ocr, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(sse, "PING_SECONDS", 0.2)
    proxy.rule = lambda request: Fate(refuse=b"-BUSY Redis is busy\r\n") if request[0] == b"XREAD" else Fate()
    life = client_of(make_settings(proxy.url))
    life.app.state.services.inspector = inspector
    await script.report()
    async with life as api, asyncio.timeout(20):
        if path == "ocr":
            stream = asyncio.create_task(api.post("/api/v1/ocr", files=FILE, data={"stream": "true"}))
            while not (waiting := await script.claims.redis.zrange("open", 0, 0)):
                await asyncio.sleep(0.01)
            job_id = waiting[0].decode()
        else:
            job_id = await job_of(api)
            stream = asyncio.create_task(api.get(f"{JOBS}/{job_id}/events"))
            while not life.app.state.services.hub._watched:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # what was there at the beginning has been read
        await script.do(job_id, ["hello world"])
        text = (await stream).text
        assert "hello world" in text
        assert ('{"done": true}' if path == "ocr" else "event: done") in text


async def test_a_patient_client_asks_until_it_is_taken(proxy: StoreProxy) -> None:
    client, refusals = connect(proxy.url, patient=True), list(REFUSALS)
    proxy.rule = lambda _request: Fate(refuse=refusals.pop() + b"\r\n") if refusals else Fate()
    with store_errors():
        assert await client.set("k", "v")
        async with client.pipeline(transaction=False) as pipe:
            refusals.extend(REFUSALS[:3])
            pipe.get("k")
            pipe.get("k")
            assert await pipe.execute() == [b"v", b"v"]
    assert not refusals
    await client.aclose()


async def test_a_patient_client_gives_up_in_the_end(proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    client = connect(proxy.url, patient=True)
    proxy.rule = lambda _request: Fate(refuse=b"-OOM command not allowed\r\n")
    with pytest.raises(StoreFull), store_errors():
        await client.set("k", "v")
    await client.aclose()


async def test_what_is_wrong_in_itself_is_not_asked_again(proxy: StoreProxy) -> None:
    client, asked = connect(proxy.url, patient=True), 0

    def rule(_request: list[bytes]) -> Fate:
        nonlocal asked
        asked += 1
        return Fate(refuse=b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")

    proxy.rule = rule
    with pytest.raises(StoreUnavailable), store_errors():
        await client.get("k")
    assert asked == 1
    await client.aclose()
