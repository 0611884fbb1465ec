"""The same again for nothing: a job that is made of an earlier one's result, and what becomes of either."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from shared.contract.document import Figure, PageResult, PageStatus
from shared.contract.events import JobDone
from shared.contract.job import Input, NewJob, WebhookTarget
from shared.contract.options import Options
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.errors import IdempotencyMismatch, QueueFull, RateLimited
from shared.payloads.names import job_folder
from shared.store import keyspace
from shared.store.jobs import Store
from shared.store.kept import kept_by_owner
from tests.conftest import make_settings
from tests.integration.conftest import Script, client_of
from tests.integration.test_gateway_jobs import JOBS, job_of
from tests.integration.test_payloads_of_jobs import JPEGS, LARGE, LONG, READ, both, orphans, stored
from tests.settings import Settings
from tools.uploads import png, tiff
from tools.valkey import Valkey
from worker.claims import Claim, Claims
from worker.payload_sweeper import PayloadSweeper

READER = "reader-1"
UPLOAD = Input(filename="a.pdf", media_type="application/pdf", bytes=len(LARGE), sha256="0", pages=1, page_range="1")
NEW = NewJob(input=UPLOAD, pages=1, options=Options(), content="content-1", owner="me")


async def reports(claims: Claims, reader: str = READER) -> None:
    engine = EngineStatus(name="instant")
    await claims.report(WorkerStatus(name=claims.worker, reader=reader, engine=engine))


async def read(claims: Claims, job_id: str, *pages: PageResult, reader: str = READER) -> Claim:
    claim = await claims.claim(job_id, f"token-of-{job_id}")
    assert claim is not None
    await claims.start(claim, "instant", reader)
    for page in pages or (READ,):
        await claims.page_end(claim, page, b"webp", JPEGS if page.figures else ())
    await claims.finish(claim)
    return claim


@contextlib.asynccontextmanager
async def with_a_result(settings: Settings) -> AsyncIterator[tuple[Store, Claims, PayloadSweeper, str]]:
    """The store's halves, and the id of a job of ``NEW`` that has been read."""
    async with both(settings) as (store, claims, sweeper):
        await reports(claims)
        first = await store.submit(NEW, LARGE, cache=True)
        assert not first.cached
        await read(claims, first.job_id)
        await sweeper.clean_up()
        yield store, claims, sweeper, first.job_id


async def again(store: Store, **more: Any) -> str:
    """The id of a job of the same content, which was not read."""
    submitted = await store.submit(replace(NEW, **more), LARGE, cache=True)
    assert submitted.cached
    return submitted.job_id


async def is_whole(store: Store, job_id: str) -> bool:
    pages, figures, picture = await store.pages(job_id), await store.figures(job_id), await store.page_image(job_id, 1)
    part = await store.figure_part(job_id, "1_0.jpg")
    assert part is not None
    await store.refuse_missing(job_id, figures=True)
    return (pages, figures, picture, part.size) == ([READ], dict(JPEGS), b"webp", len(JPEGS[0][1]))


async def test_the_same_again_has_succeeded_at_once(anywhere: Settings) -> None:
    async with with_a_result(anywhere) as (store, claims, _, first):
        second = await again(store, metadata={"order": 2}, options=Options(furniture=False))
        assert second != first
        job = await store.job(second, "me")
        assert (job.status, job.cached, job.engine, job.attempt, job.metadata) == (
            "succeeded", True, "instant", 0, {"order": 2},
        )  # fmt: skip
        assert (job.progress.pages_done, [page.number for page in job.pages]) == (1, [1])
        assert job.usage.completion_tokens == 0
        assert not job.options.furniture
        assert not (await store.job(first)).cached
        assert await is_whole(store, second)
        assert [one.event for one in await store.events(second)] == [JobDone(status=job.status, error=None)]
        assert [one.id for one in (await store.jobs("me"))[0]] == [second, first]
        assert await claims.claim(second, "t") is None
        if store.payloads is not None:
            assert await stored(store.payloads, second) == []  # nothing is copied, and its upload is not kept


@pytest.mark.parametrize("order", ["first goes first", "second goes first"])
@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_neither_loses_its_result_when_the_other_goes(
    anywhere: Settings, valkey: Valkey, order: str, how: str
) -> None:
    async with with_a_result(anywhere) as (store, _, sweeper, first):
        second = await again(store)
        third = await again(store)
        going, staying = (first, second) if order.startswith("first") else (second, first)
        await go(going, how, store, valkey, sweeper)
        for job_id in (staying, third):
            assert await is_whole(store, job_id)
        if store.payloads is not None:
            assert await orphans(sweeper, store.payloads, first) == 0
        fourth = await again(store)  # also where the first one is gone
        for job_id in (third, fourth, staying):
            assert await is_whole(store, job_id)
            await go(job_id, how, store, valkey, sweeper)
        if store.payloads is not None:
            assert [one async for one in store.payloads.under("")] == []
        assert valkey.client.keys("holders:*") == []
        assert not (await store.submit(NEW, LARGE, cache=True)).cached


async def go(job_id: str, how: str, store: Store, valkey: Valkey, sweeper: PayloadSweeper) -> None:
    if how == "deleted":
        await store.delete(job_id)
    else:
        same = keyspace.SAME_CONTENT("me", NEW.content, READER)
        for name in (keyspace.PAGES, keyspace.PAGE_PAYLOADS, keyspace.PAGE_SUMMARIES, keyspace.FIGURES):
            valkey.client.delete(name(job_id))
        valkey.client.delete(keyspace.PAGE_IMAGES(job_id))
        valkey.client.zadd(same, {job_id: 1}, xx=True)
        due = [name.decode() for name, _ in valkey.client.zscan_iter(keyspace.CLEANUPS())]
        due = [name for name in due if re.match(f"(payloads|shared) {job_id}", name)]
        if due:
            valkey.client.zadd(keyspace.CLEANUPS(), dict.fromkeys(due, 1))
    await sweeper.clean_up()


@pytest.mark.parametrize(
    "other",
    [
        {"owner": "somebody else"},
        {"content": "content-2"},
        {"content": ""},
    ],
    ids=["another owner", "other content", "no content"],
)
async def test_nothing_else_is_answered_by_it(in_folder: Settings, other: dict[str, Any]) -> None:
    async with with_a_result(in_folder) as (store, _, _, _):
        assert not (await store.submit(replace(NEW, **other), LARGE, cache=True)).cached


async def test_it_is_read_again_when_asked_for_or_by_another_reader(in_folder: Settings, valkey: Valkey) -> None:
    async with with_a_result(in_folder) as (store, claims, _, _):
        assert not (await store.submit(NEW, LARGE)).cached
        for reader in ("reader-2", ""):
            await reports(claims, reader)
            store._reader._asked = 0.0
            assert not (await store.submit(NEW, LARGE, cache=True)).cached
        await reports(claims)
        other = Claims(store.redis, in_folder, "worker-2")
        await reports(other, "reader-2")
        store._reader._asked = 0.0
        assert not (await store.submit(NEW, LARGE, cache=True)).cached  # either of the two might read it
        await other.retire()
        store._reader._asked = 0.0
        assert (await store.submit(NEW, LARGE, cache=True)).cached


@pytest.mark.parametrize("status", [PageStatus.DEGRADED, PageStatus.FAILED])
async def test_a_result_with_a_fault_is_not_used_again(in_folder: Settings, status: PageStatus) -> None:
    async with both(in_folder) as (store, claims, _):
        await reports(claims)
        two = replace(NEW, pages=2)
        faulty = PageResult(number=2, status=status, reason="length", markdown=LONG)
        await read(claims, (await store.submit(two, LARGE)).job_id, READ, faulty)
        assert not (await store.submit(two, LARGE, cache=True)).cached


async def test_pages_that_two_readers_read_are_nobodys_result(in_folder: Settings, valkey: Valkey) -> None:
    async with both(in_folder) as (store, claims, _):
        await reports(claims)
        job_id = (await store.submit(replace(NEW, pages=2), LARGE)).job_id
        first = await claims.claim(job_id, "t1")
        assert first is not None
        await claims.start(first, "instant", "reader-0")
        await claims.page_end(first, READ)
        await claims.release(first)
        await read(claims, job_id, PageResult(number=2, status=PageStatus.OK, markdown=LONG))
        assert (await store.job(job_id)).status == "succeeded"
        assert not (await store.submit(replace(NEW, pages=2), LARGE, cache=True)).cached


async def test_no_limit_and_no_quota_counts_it(in_folder: Settings, valkey: Valkey) -> None:
    tight = in_folder.model_copy(update={"max_queue_jobs": 1})
    async with with_a_result(tight) as (store, _, _, _):
        await store.submit(NEW, LARGE)  # the queue is full
        with pytest.raises(QueueFull):
            await store.submit(NEW, LARGE)
        await again(store, page_quota=1)
        await again(store, page_quota=1)
        assert valkey.client.keys("quota:*") == []
        with pytest.raises((QueueFull, RateLimited)):
            await store.submit(replace(NEW, page_quota=1), LARGE)
        counters = await store.stats.counters()
        assert {name: counters[name] for name in ("jobs", "pages", "submitted", "ended:succeeded", "cached")} == {
            "jobs": 1, "pages": 1, "submitted": 4, "ended:succeeded": 3, "cached": 2,
        }  # fmt: skip
        (usage,) = valkey.client.keys("usage:*")
        assert (valkey.client.hget(usage, "me|jobs"), valkey.client.hget(usage, "me|pages")) == (b"4", b"2")


async def test_an_idempotency_key_stands_for_it_as_for_any_job(in_folder: Settings) -> None:
    async with with_a_result(in_folder) as (store, _, _, _):
        keyed = replace(NEW, idempotency_key="k")
        made = await store.submit(keyed, LARGE, "print", cache=True)
        replayed = await store.submit(keyed, LARGE, "print", cache=True)
        assert (made.cached, replayed.cached, replayed.replayed) == (True, False, True)
        assert made.job_id == replayed.job_id
        with pytest.raises(IdempotencyMismatch):
            await store.submit(keyed, LARGE, "another", cache=True)


async def test_its_webhook_tells_that_it_succeeded(in_folder: Settings, valkey: Valkey) -> None:
    async with with_a_result(in_folder) as (store, _, _, _):
        target = WebhookTarget(url="https://example.org/hook", events=("job.started", "job.succeeded"))
        second = await again(store, webhook=target)
        assert valkey.client.lrange(keyspace.WEBHOOKS_OF_JOB(second), 0, -1) == [f"msg_{second}_succeeded".encode()]


async def test_pictures_stay_as_long_as_one_job_names_them(in_folder: Settings, valkey: Valkey) -> None:
    async with with_a_result(in_folder.model_copy(update={"picture_ttl": 60})) as (store, _, sweeper, first):
        second = await again(store)
        for going, left in ((first, b"webp"), (second, None)):
            valkey.client.zadd(keyspace.CLEANUPS(), {f"pictures {going}": 1})
            await sweeper.clean_up()
            assert await store.page_image(going, 1) is None
            assert await store.page_image(second, 1) == left
        assert await store.pages(second) == [READ]
        assert [name.rpartition("/")[2] for name in await stored(store.payloads, first)] == ["1_0.jpg", "result.json"]


async def test_pictures_that_a_deleted_job_alone_named_are_swept_up(in_folder: Settings, valkey: Valkey) -> None:
    async with with_a_result(in_folder.model_copy(update={"picture_ttl": 60})) as (store, _, sweeper, first):
        second = await again(store)
        valkey.client.zadd(keyspace.CLEANUPS(), {f"pictures {first}": 1})
        await sweeper.clean_up()
        await store.delete(second)
        await sweeper.clean_up()
        assert await orphans(sweeper, store.payloads, first) == 1
        assert (await store.pages(first), await store.page_image(first, 1)) == ([READ], None)


async def test_what_is_kept_counts_for_the_owner_once(in_folder: Settings) -> None:
    async with with_a_result(in_folder) as (store, _, sweeper, first):
        await again(store)
        (mine,) = await kept_by_owner(store)
        await store.delete(first)
        await sweeper.clean_up()
        (left,) = await kept_by_owner(store)
        assert (mine.jobs, left.jobs) == (2, 1)
        assert mine.payload_bytes == left.payload_bytes > 0


# -- through the gateway


@pytest.fixture
async def script_reports(script: Script) -> Script:
    await reports(script.claims)
    return script


async def read_by(script: Script, job_id: str, text: str = "hello") -> None:
    claim = await script.claims.claim(job_id, "attempt-1")
    assert claim is not None
    await script.claims.start(claim, "instant", READER)
    await script.end(claim, 1, text, picture=b"webp")
    await script.claims.finish(claim)


async def test_a_file_that_was_read_is_answered_at_once(api: httpx.AsyncClient, script_reports: Script) -> None:
    first = await job_of(api, data=png(1))
    await read_by(script_reports, first)
    answer = await api.post(JOBS, files={"file": ("b.png", png(1))}, headers={"Prefer": "wait=5"})
    job = answer.json()
    assert (answer.status_code, job["status"], job["cached"]) == (200, "succeeded", True)
    assert (job["input"]["filename"], job["usage"]["engine_seconds"]) == ("b.png", 0.0)
    assert (await api.get(f"{JOBS}/{job['id']}/result")).text == "hello\n"
    events = (await api.get(f"{JOBS}/{job['id']}/events")).text
    assert [line for line in events.splitlines() if line.startswith("event:")] == ["event: snapshot", "event: done"]
    correction = await api.put(f"{JOBS}/{job['id']}/pages/1/blocks/0", json={"text": "corrected"})
    assert correction.status_code == 200
    assert (await api.get(f"{JOBS}/{first}/result")).text == "hello\n"


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({"cache": "false"}, False),
        ({"cache": "true"}, True),
        ({"priority": "high", "furniture": "false", "page_marks": "true", "join_pages": "true"}, True),
        ({"metadata": '{"a": 1}', "deadline": "60", "ttl": "60"}, True),
        ({"pages": "1"}, True),
        ({"type": "image"}, False),
        ({"prompt": "read it"}, False),
        ({"text_layer": "prefer"}, False),
        ({"table": "html"}, False),
        ({"math": "brackets"}, False),
        ({"clean": "false"}, False),
    ],
)
async def test_every_option_that_changes_the_text_counts(
    api: httpx.AsyncClient, script_reports: Script, fields: dict[str, str], cached: bool
) -> None:
    await read_by(script_reports, await job_of(api, data=png(1)))
    answer = await api.post(JOBS, files={"file": ("a.png", png(1))}, data=fields)
    assert answer.status_code == 202, answer.text
    assert answer.json()["cached"] is cached


async def test_other_pages_of_the_same_file_are_another_result(api: httpx.AsyncClient, script_reports: Script) -> None:
    await read_by(script_reports, await job_of(api, data=tiff([1, 2]), pages="1"))
    cached = {}
    for pages in ("1", "2", "1-2"):
        answer = await api.post(JOBS, files={"file": ("a.tiff", tiff([1, 2]))}, data={"pages": pages})
        cached[pages] = answer.json()["cached"]
    assert cached == {"1": True, "2": False, "1-2": False}


async def test_a_page_that_is_retried_is_read_again(api: httpx.AsyncClient, script_reports: Script) -> None:
    first = await job_of(api, data=png(1))
    await read_by(script_reports, first)
    for _ in range(2):
        retry = (await api.post(f"{JOBS}/{first}/pages/1/retry")).json()
        assert (retry["status"], retry["cached"]) == ("queued", False)
        await read_by(script_reports, retry["id"])


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_the_original_api_gives_the_text_that_is_kept(
    api: httpx.AsyncClient, script_reports: Script, stream: str
) -> None:
    await read_by(script_reports, await job_of(api, data=png(1)))
    answer = await api.post("/api/v1/ocr", files={"file": ("a.png", png(1))}, data={"stream": stream})
    assert answer.status_code == 200
    if stream == "false":
        assert answer.json()["text"] == "hello\n"
    else:
        told = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
        assert ("".join(piece.get("text", "") for piece in told), told[-1]) == ("hello\n", {"done": True})


async def test_it_can_be_turned_off(valkey: Valkey, script: Script) -> None:
    await reports(script.claims)
    async with client_of(make_settings(valkey.url, result_cache=False)) as api:
        await read_by(script, await job_of(api, data=png(1)))
        assert not (await api.post(JOBS, files={"file": ("a.png", png(1))})).json()["cached"]
    assert valkey.client.keys("same:*") == []


async def test_a_figure_is_the_one_of_the_job_that_was_read(in_folder: Settings) -> None:
    async with with_a_result(in_folder) as (store, _, _, first):
        second = await again(store)
        part = await store.figure_part(second, Figure(name="1_0.jpg", bbox=(0, 0, 1, 1)).name)
        assert part is not None
        assert b"".join([piece async for piece in part.stream(0, part.size)]) == JPEGS[0][1]
        assert job_folder(first) != job_folder(second)
