"""Event streams over real sockets: order, resuming on another gateway, trimming, restarts of the store."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from gateway.services import Services
from gateway.streaming.event_hub import EventReader
from shared.store.connect import connect
from shared.store.jobs import Store, StoredEvent
from tests.conftest import make_settings
from tests.integration.conftest import Script
from tests.integration.test_gateway_jobs import JOBS, job_of, problem
from tools.processes import Gateway
from tools.uploads import png, tiff
from tools.valkey import Valkey
from worker.claims import Claims


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        yield client


async def events(client: httpx.AsyncClient, job_id: str, after: str | None = None) -> AsyncIterator[ServerSentEvent]:
    headers = {"Last-Event-ID": after} if after else {}
    async with aconnect_sse(client, "GET", f"{JOBS}/{job_id}/events", headers=headers) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        async for event in source.aiter_sse():
            yield event


async def collect(client: httpx.AsyncClient, job_id: str, after: str | None = None) -> list[ServerSentEvent]:
    async with asyncio.timeout(30):
        return [event async for event in events(client, job_id, after)]


def stored_ids(events: list[ServerSentEvent]) -> list[str]:
    return [event.id for event in events if event.event not in ("queue", "snapshot")]


async def test_a_stream_has_every_event_in_order_and_then_ends(http: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(http, data=tiff([1, 2]))
    reading = asyncio.create_task(collect(http, job_id))
    await script.do(job_id, ["one", "two"])
    seen = [event for event in await reading if event.event != "queue"]
    assert [event.event for event in seen] == [
        "status", "status", "page.started", "token", "page.completed",
        "page.started", "token", "page.completed", "done",
    ]  # fmt: skip
    assert json.loads(seen[3].data) == {"page": 1, "text": "one"}
    assert json.loads(seen[4].data)["progress"] == {"pages_total": 2, "pages_done": 1, "pages_failed": 0}
    assert json.loads(seen[-1].data) == {"status": "succeeded", "error": None}
    assert all(event.retry in (None, 3000) for event in seen)


async def test_a_finished_stream_is_told_again_from_any_place_and_204_when_all_was_seen(
    http: httpx.AsyncClient, script: Script
) -> None:
    job_id = await job_of(http)
    await script.do(job_id)
    every = await collect(http, job_id)
    ids = stored_ids(every)
    for at in range(len(ids) - 1):
        assert stored_ids(await collect(http, job_id, ids[at])) == ids[at + 1 :]
    answer = await http.get(f"{JOBS}/{job_id}/events", headers={"Last-Event-ID": ids[-1]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await http.get(f"{JOBS}/{job_id}/events", params={"last_event_id": ids[-1]})).status_code == 204


async def test_a_reader_that_drops_and_comes_back_to_another_gateway_misses_nothing(
    gateways: tuple[Gateway, Gateway], http: httpx.AsyncClient, script: Script, store: Store
) -> None:
    job_id = await job_of(http, data=tiff(range(1, 31)))
    seen: list[ServerSentEvent] = []

    async def read_along() -> None:
        async with (
            httpx.AsyncClient(base_url=gateways[0].url, timeout=30) as one,
            httpx.AsyncClient(base_url=gateways[1].url, timeout=30) as two,
        ):
            while not seen or seen[-1].event != "done":
                turn = 0
                last = stored_ids(seen)[-1:]
                async for event in events((one, two)[len(seen) % 2], job_id, last[0] if last else None):
                    seen.append(event)
                    if (turn := turn + 1) == 7:
                        break  # the connection is dropped here

    reading = asyncio.create_task(read_along())
    await script.do(job_id, [f"page {n}" for n in range(1, 31)])
    async with asyncio.timeout(30):
        await reading
    assert stored_ids(seen) == [event.id for event in await store.events(job_id)]
    assert len(stored_ids(seen)) == 2 + 30 * 3 + 1


async def test_many_readers_of_many_jobs_each_get_their_own(http: httpx.AsyncClient, script: Script) -> None:
    jobs = [await job_of(http, data=png(seed)) for seed in range(8)]
    readers = [asyncio.create_task(collect(http, job_id)) for job_id in jobs for _ in range(3)]
    for at, job_id in enumerate(jobs):
        await script.do(job_id, [f"text {at}"])
    for at, reader in enumerate(readers):
        texts = [json.loads(event.data)["text"] for event in await reader if event.event == "token"]
        assert texts == [f"text {at // 3}"]


async def test_place_in_the_queue_is_told_and_told_again_when_it_changes(http: httpx.AsyncClient) -> None:
    first, second = await job_of(http), await job_of(http, data=png(2))
    places: list[int] = []
    async with asyncio.timeout(30):
        async for event in events(http, second):
            if event.event == "queue":
                assert not event.id or event.id in {e.id for e in await collect_status(http, second)}
                places.append(json.loads(event.data)["position"])
                await http.post(f"{JOBS}/{first if len(places) == 1 else second}/cancel")
    assert places == [2, 1]


async def collect_status(http: httpx.AsyncClient, job_id: str) -> list[ServerSentEvent]:
    """The first stored event: what a client's last id stays at over events without one."""
    async for event in events(http, job_id):
        return [event]
    return []


async def test_a_reader_whose_place_was_trimmed_away_gets_a_snapshot_and_goes_on(
    http: httpx.AsyncClient, script: Script, valkey: Valkey
) -> None:
    job_id = await job_of(http)
    first = stored_ids(await collect_status(http, job_id))[0]
    claim = await script.take(job_id)
    await script.say(claim, 1, *(f"{n} " for n in range(50)))
    valkey.client.xtrim(f"ev:{job_id}", maxlen=10, approximate=False)
    await script.end(claim, 1, "text")
    await script.claims.finish(claim)
    for after in (first, None):
        seen = await collect(http, job_id, after)
        assert seen[0].event == "snapshot"
        assert json.loads(seen[0].data)["status"] == "succeeded"
        assert [event.event for event in seen[1:]] == ["token"] * 10 + ["page.completed", "done"]
    again = await collect(http, job_id, stored_ids(seen)[0])
    assert "snapshot" not in [event.event for event in again]


async def test_delete_ends_the_streams_of_the_job(http: httpx.AsyncClient) -> None:
    job_id = await job_of(http)
    reading = asyncio.create_task(collect(http, job_id))
    await collect_status(http, job_id)
    await http.delete(f"{JOBS}/{job_id}")
    last = (await reading)[-1]
    assert (last.event, json.loads(last.data)["status"]) == ("done", "cancelled")


@pytest.mark.parametrize("last", ["x", "1-", "99999999999999999999-1", "1-2-3", "-1"])
async def test_an_id_that_is_none_is_refused(http: httpx.AsyncClient, last: str) -> None:
    job_id = await job_of(http)
    problem(await http.get(f"{JOBS}/{job_id}/events", headers={"Last-Event-ID": last}), 400, "bad-option")


async def test_a_silent_stream_is_kept_alive_by_pings(
    api: httpx.AsyncClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.streaming.sse.PING_SECONDS", 0.2)
    job_id = await job_of(api)
    claim = await script.take(job_id)

    async def finish() -> None:
        await asyncio.sleep(1)
        await script.end(claim, 1)
        await script.claims.finish(claim)

    finishing = asyncio.create_task(finish())
    text = (await api.get(f"{JOBS}/{job_id}/events")).text
    await finishing
    assert text.startswith("retry: 3000\nid: ")
    assert text.count(": ping\n\n") >= 2


async def test_streams_go_on_over_a_restart_of_the_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = Valkey(tmp_path_factory.mktemp("restarted"))
    one = Gateway(own.folder, own.url)
    try:
        one.wait_ready()
        await _over_a_restart(own, one)
    finally:
        one.stop()
        own.stop()


async def _over_a_restart(own: Valkey, one: Gateway) -> None:
    client = connect(own.url, patient=True)
    script = Script(Claims(client, make_settings(own.url, lease=600), "worker-1"))
    async with httpx.AsyncClient(base_url=one.url, timeout=60) as http:
        job_id = await job_of(http, data=tiff([1, 2]))
        reading = asyncio.create_task(collect(http, job_id))
        claim = await script.take(job_id)
        await script.say(claim, 1, "before ")
        await script.end(claim, 1, "before")
        own.client.bgrewriteaof()
        await asyncio.sleep(1.5)  # appendfsync everysec: what was written lies on the disk now
        own.stop()
        own.start()
        await script.say(claim, 2, "after")
        await script.end(claim, 2, "after")
        await script.claims.finish(claim)
        seen = await reading
        ids = stored_ids(seen)
        store = Store(client, make_settings(own.url))
        assert ids == [event.id for event in await store.events(job_id)]
    await client.aclose()


async def test_a_gateway_that_stops_ends_its_streams_at_once(valkey: Valkey, tmp_path_factory: Any) -> None:
    one = Gateway(tmp_path_factory.mktemp("stopped"), valkey.url).wait_ready()
    async with httpx.AsyncClient(base_url=one.url, timeout=30) as http:
        job_id = await job_of(http)
        polling = asyncio.create_task(http.get(f"{JOBS}/{job_id}", params={"wait": "60"}))
        begun = asyncio.Event()

        async def read() -> list[str]:
            seen = []
            async for event in events(http, job_id):
                seen.append(event.event)
                begun.set()
            return seen

        reading = asyncio.create_task(read())
        await begun.wait()
        one.signal(signal.SIGTERM)
        seen, polled = await asyncio.gather(reading, polling)
    assert "done" not in seen
    assert (polled.status_code, polled.json()["status"]) == (200, "queued")
    assert one.popen.wait(6) == 0


async def test_a_slow_reader_reads_on_from_the_store_and_holds_little(
    store: Store, script: Script, api: httpx.AsyncClient
) -> None:
    job_id = await job_of(api)
    services: Services = api._transport.app.state.services  # type: ignore[attr-defined]
    claim = await script.take(job_id)
    async with services.hub.follow(job_id, "0") as reader:
        read = await reader.next(1)
        for start in range(0, 1500, 100):
            await script.say(claim, 1, *(str(n) for n in range(start, start + 100)))
        await heard_all(reader, store, job_id)
        assert len(reader._queue) <= 256
        while events := await reader.next(0.2):
            read += events
    assert [event.id for event in read] == [event.id for event in await store.events(job_id, count=5000)]


async def heard_all(reader: EventReader, store: Store, job_id: str) -> None:
    """Wait until the hub has offered the last event to the reader, which reads nothing meanwhile."""
    last = (await store.events(job_id, count=5000))[-1]
    offered: list[StoredEvent] = []
    original = reader.offer

    def offer(event: StoredEvent) -> None:
        offered.append(event)
        original(event)

    reader.offer = offer  # type: ignore[method-assign]
    await store.cancel(job_id)
    async with asyncio.timeout(10):
        while not offered or int(offered[-1].id.split("-")[0]) < int(last.id.split("-")[0]):
            await asyncio.sleep(0.01)
