"""What is written down of a job that is made of an earlier one's result, and of payloads that several jobs name."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from shared.contract.document import PageResult, PageStatus
from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.store import keyspace
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.still_clock import DAY, MIDNIGHT, StillClock
from tools.valkey import Valkey
from worker.claims import Claims

CONTENT, READER = "content-1", "reader-1"
UPLOAD = Input(filename="a.pdf", media_type="application/pdf", bytes=6, sha256="0", pages=2, page_range="1-2")
NEW = NewJob(input=UPLOAD, pages=2, options=Options(), content=CONTENT, owner="me")
TTL = 1000  # seconds a result is kept
NEAR = 5  # seconds a test may take
SAME = keyspace.SAME_CONTENT("me", CONTENT, READER)


async def read(store: Store, claims: Claims, valkey: Valkey, *, payloads: bool, pages: int = 2) -> str:
    """The id of a job that has been read; ``payloads``: results and pictures lie in the payload store."""
    store.settings, store.payloads = make_settings(valkey.url, result_ttl=TTL), None
    job_id = (await store.submit(NEW, b"upload", "print")).job_id
    claim = await claims.claim(job_id, "t1")
    assert claim is not None
    await claims.start(claim, "instant", READER)
    for number in range(1, pages + 1):
        page = PageResult(number=number, status=PageStatus.OK)
        where = ("", "t1 rp", b"") if payloads else (page.model_dump_json(), "", b"webp")
        await claims.scripts.run(
            "page_end", job_id, "t1", number, next(claim.steps), "ok", where[0], page.model_dump_json(), *where[1:],
            1, 2, 0.5, f"{number}_0.jpg", b"jpeg",
        )  # fmt: skip
    assert await claims.finish(claim) == "succeeded"
    return job_id


async def again(store: Store, job_id: str, *fields: str | int, key: str = "", batch: str = "", rank: str = "3") -> Any:
    """The answer where the same is submitted again as ``job_id``; ``fields`` go into its record."""
    reply = await store.scripts.run(
        "reuse", job_id, CONTENT, READER, "me", key, "print", 60, batch, 6, rank, 5000, "options", "{}", "content",
        CONTENT, "max_age", 9, *fields,
    )  # fmt: skip
    return reply[:2]


def record(valkey: Valkey, job_id: str) -> dict[str, str]:
    return fields(valkey, keyspace.JOB(job_id))


def fields(valkey: Valkey, key: str) -> dict[str, str]:
    found = cast("dict[bytes, bytes]", valkey.client.hgetall(key))
    return {name.decode(): value.decode() for name, value in found.items()}


def scores(valkey: Valkey, key: str) -> dict[str, float]:
    found = cast("list[tuple[bytes, float]]", valkey.client.zrange(key, 0, -1, withscores=True))
    return {member.decode(): score for member, score in found}


def lives(valkey: Valkey, key: str, seconds: float) -> bool:
    """Whether the key goes after so many seconds."""
    left = valkey.client.pttl(key) / 1000
    return seconds - NEAR < left <= seconds


def added(valkey: Valkey, before: dict[str, str]) -> dict[str, int]:
    """By how much the counters have grown."""
    now = fields(valkey, keyspace.COUNTERS())
    return {name: by for name, value in now.items() if (by := int(value) - int(before.get(name, 0)))}


@pytest.mark.parametrize("payloads", [True, False])
async def test_a_job_of_a_kept_result_has_a_whole_record(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, payloads: bool
) -> None:
    first = await read(store, claims, valkey, payloads=payloads)
    now = clock.forward(10)
    assert await again(store, "J2", "result_ttl", 500, "filename", "b.pdf", rank="6") == [b"ok", b"J2"]
    assert record(valkey, "J2") == {
        "options": "{}", "content": CONTENT, "max_age": "9", "result_ttl": "500", "filename": "b.pdf",
        "id": "J2", "owner": "me", "status": "succeeded", "created": f"{now}", "completed": f"{now}", "deadline": "",
        "rank": "6", "bytes": "6", "batch": "", "engine": "instant", "reader": READER, "cached": "1",
        "source": first if payloads else "", "payloads": "1" if payloads else "", "pages_total": "2",
        "pages_done": "2", "pages_failed": "0", "pages_degraded": "0", "attempt": "0", "requeues": "0", "token": "",
        "lease": "0", "error": "", "done_event": f"{int(now * 1000)}-0", "expires": f"{now + 500}",
    }  # fmt: skip


@pytest.mark.parametrize("payloads", [True, False])
async def test_what_lies_in_the_store_is_copied_and_payloads_are_named_by_both(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, payloads: bool
) -> None:
    first = await read(store, claims, valkey, payloads=payloads, pages=2)
    clock.forward(10)
    await again(store, "J2", "result_ttl", 500, "picture_ttl", 50)
    for key in (keyspace.PAGES, keyspace.PAGE_SUMMARIES, keyspace.PAGE_IMAGES, keyspace.FIGURES):
        assert valkey.client.hgetall(key("J2")) == valkey.client.hgetall(key(first))
        seconds = 50 if key is keyspace.PAGE_IMAGES else 500
        assert lives(valkey, key("J2"), seconds) or not valkey.client.exists(key(first))
    cleanups, expired = scores(valkey, keyspace.CLEANUPS()), clock.now + 500
    ours = {what: at for what, at in cleanups.items() if " J2" in what}
    if payloads:
        assert fields(valkey, keyspace.PAGE_PAYLOADS("J2")) == dict.fromkeys(("1", "2"), f"t1 rp {first}")
        assert lives(valkey, keyspace.PAGE_PAYLOADS("J2"), 500)
        assert valkey.client.smembers(keyspace.HOLDERS(first)) == {first.encode(), b"J2"}
        assert lives(valkey, keyspace.HOLDERS(first), 1000)
        assert ours == {f"shared J2:{first}": expired, "pictures J2": clock.now + 50}
    else:
        assert not valkey.client.exists(keyspace.PAGE_PAYLOADS("J2"))
        assert valkey.client.keys("holders:*") == []
        assert ours == {}


async def test_a_job_of_a_kept_result_is_counted_listed_and_used_up_by_no_page(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=False)
    before = fields(valkey, keyspace.COUNTERS())
    valkey.client.hset("batch:B", "owner", "me")
    valkey.client.expire("batch:B", 300)
    now = clock.forward(10)
    await again(store, "J2", "result_ttl", 500, batch="B", rank="6")
    assert added(valkey, before) == {"submitted": 1, "submitted:6": 1, "ended:succeeded": 1, "cached": 1}
    used = fields(valkey, keyspace.USAGE(MIDNIGHT // DAY))
    assert used == {"me|jobs": "2", "me|pages": "2", "me|bytes": "6", "me|tokens": "6"}
    assert scores(valkey, keyspace.JOBS_OF_OWNER("me")) == {first: now - 10, "J2": now}
    assert lives(valkey, keyspace.JOBS_OF_OWNER("me"), 5000)
    assert valkey.client.lrange(keyspace.BATCH_JOBS("B"), 0, -1) == [b"J2"]
    assert lives(valkey, keyspace.BATCH_JOBS("B"), 300)
    assert scores(valkey, keyspace.ENDED_JOBS()) == {f"me {first}": now - 10 + 2000, "me J2": now + 1000}
    assert scores(valkey, SAME) == {first: now + 990, "J2": now + 500}
    assert lives(valkey, SAME, 990)
    assert lives(valkey, keyspace.JOB("J2"), 1000)
    assert not valkey.client.exists(keyspace.UPLOAD("J2"), keyspace.EVENTS("J2"))


async def test_a_job_of_a_job_of_a_kept_result_names_the_one_that_was_read(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=True)
    await again(store, "J2", "result_ttl", 9000)  # kept the longest: the third is made of it
    clock.forward(1)
    await again(store, "J3", "result_ttl", 300)
    assert record(valkey, "J3")["source"] == first
    assert fields(valkey, keyspace.PAGE_PAYLOADS("J3")) == dict.fromkeys(("1", "2"), f"t1 rp {first}")
    assert valkey.client.smembers(keyspace.HOLDERS(first)) == {first.encode(), b"J2", b"J3"}
    assert lives(valkey, keyspace.HOLDERS(first), 18_000)  # no shorter for the third


async def test_a_result_of_the_version_before_has_no_payloads(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=False)
    valkey.client.hdel(keyspace.JOB(first), "payloads")
    await again(store, "J2", "result_ttl", 500)
    assert (record(valkey, "J2")["payloads"], record(valkey, "J2")["source"]) == ("", "")


@pytest.mark.parametrize("why", ["nothing is kept", "it expires now", "it failed", "its record is gone", "another's"])
async def test_without_a_kept_result_nothing_is_written(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, why: str
) -> None:
    first = await read(store, claims, valkey, payloads=True)
    if why == "nothing is kept":
        valkey.client.delete(SAME)
    elif why == "it expires now":
        clock.forward(TTL)
    elif why == "it failed":
        valkey.client.hset(keyspace.JOB(first), "status", "failed")
    elif why == "its record is gone":
        valkey.client.delete(keyspace.JOB(first))
    else:
        valkey.client.hset(keyspace.JOB(first), "owner", "you")
    before = fields(valkey, keyspace.COUNTERS()), sorted(valkey.client.keys())
    assert await again(store, "J2", "result_ttl", 500, key="k") == [b"none", b""]
    assert (fields(valkey, keyspace.COUNTERS()), sorted(valkey.client.keys())) == before


async def test_a_result_is_used_to_its_last_moment(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    await read(store, claims, valkey, payloads=False)
    clock.forward(TTL - 0.5)
    assert await again(store, "J2", "result_ttl", 500) == [b"ok", b"J2"]


@pytest.mark.parametrize("script", ["reuse", "submit"])
async def test_a_submission_that_comes_again_is_answered_by_what_it_was(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, script: str
) -> None:
    await read(store, claims, valkey, payloads=False)

    async def ask(job_id: str, key: str, fingerprint: str = "print") -> Any:
        said = ("options", "{}", "content", CONTENT, "max_age", 9, "result_ttl", 500)
        if script == "reuse":
            rest: tuple[Any, ...] = ("", 6, "3", 5000, *said)
            return (await store.scripts.run("reuse", job_id, CONTENT, READER, "me", key, fingerprint, 60, *rest))[:2]
        rest = ("", 9, 9, 99, 20, "", 5000, "", *said)
        return (await store.scripts.run("submit", job_id, b"x", "m", 1, 6, "3", "me", key, fingerprint, 60, *rest))[:2]

    assert await ask("J2", "k") == [b"ok", b"J2"]
    assert fields(valkey, keyspace.IDEMPOTENCY("me", "k")) == {"id": "J2", "fingerprint": "print"}
    assert lives(valkey, keyspace.IDEMPOTENCY("me", "k"), 60)
    before = fields(valkey, keyspace.COUNTERS())
    assert await ask("J2", "k") == [b"ok", b"J2"]
    assert await ask("J3", "k") == [b"replay", b"J2"]
    assert await ask("J3", "k", "other") == [b"mismatch", b"J2"]
    await store.delete("J2")
    assert await ask("J2", "") == [b"ok", b"J2"]  # its trace is left
    assert not valkey.client.exists(keyspace.JOB("J2"), keyspace.JOB("J3"))
    assert fields(valkey, keyspace.COUNTERS())["submitted"] == before["submitted"]
    assert await ask("J4", "") == await ask("J4", "") == [b"ok", b"J4"]
    assert valkey.client.keys("idem:*") == [keyspace.IDEMPOTENCY("me", "k").encode()]


async def test_the_webhook_of_a_job_of_a_kept_result_tells_that_it_succeeded(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    await read(store, claims, valkey, payloads=False)
    url, events = "https://Example.org:8443/hook?a=b", "job.started,job.succeeded"
    await again(
        store, "J2", "result_ttl", 500, "webhook_ttl", 7, "webhook_url", url, "webhook_events", events,
        "request_id", "r-1", "traceparent", "00-ab",
    )  # fmt: skip
    (webhook,) = scores(valkey, keyspace.WEBHOOKS_DUE())
    assert webhook == "msg_J2_succeeded"
    found = fields(valkey, keyspace.WEBHOOK(webhook))
    flat = json.loads(found.pop("record"))
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == record(valkey, "J2")
    assert found == {
        "job": "J2", "event": "job.succeeded", "url": url, "created": f"{clock.now}", "tries": "0", "takes": "0",
        "status": "pending", "owner": "me", "endpoint": "me https://example.org:8443", "keep": "1007",
        "request_id": "r-1", "traceparent": "00-ab",
    }  # fmt: skip
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {webhook: clock.now}
    assert valkey.client.lrange(keyspace.WEBHOOKS_OF_JOB("J2"), 0, -1) == [webhook.encode()]
    assert lives(valkey, keyspace.WEBHOOKS_OF_JOB("J2"), 1007)
    assert lives(valkey, keyspace.WEBHOOK(webhook), DAY)


# -- payloads that several jobs name


async def test_payloads_go_with_the_last_job_that_names_them(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=True)
    assert await store.scripts.run("drop_payloads", "J9", "J9") == 1  # it alone named them
    await again(store, "J2", "result_ttl", 500)
    assert await store.scripts.run("drop_payloads", first, first) == 0
    assert valkey.client.smembers(keyspace.HOLDERS(first)) == {b"J2"}
    assert await store.scripts.run("drop_payloads", "J2", first) == 1
    assert await store.scripts.run("drop_payloads", "J2", first) == 1  # a second time


async def test_pictures_are_named_until_no_job_names_them(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=True, pages=3)
    await again(store, "J2", "result_ttl", 500)
    named = keyspace.PAGE_PAYLOADS
    assert await store.scripts.run("forget_pictures", "J2") == b""  # the first still names them
    assert fields(valkey, named("J2")) == dict.fromkeys("123", f"t1 r {first}")
    assert fields(valkey, named(first)) == dict.fromkeys("123", "t1 rp")
    for _ in range(2):
        assert await store.scripts.run("forget_pictures", first) == first.encode()
        assert fields(valkey, named(first)) == dict.fromkeys("123", "t1 r")


async def test_pictures_that_one_job_alone_names_go_under_its_own_name(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    assert await store.scripts.run("forget_pictures", "J9") == b"J9"  # it was deleted
    await read(store, claims, valkey, payloads=False)
    await again(store, "J2", "result_ttl", 500)
    assert await store.scripts.run("forget_pictures", "J2") == b"J2"  # of a result that lies in Redis


async def test_a_job_that_is_read_again_by_its_source_lets_go_of_the_sources_pictures(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    first = await read(store, claims, valkey, payloads=True)
    await again(store, "J2", "result_ttl", 500)
    await store.scripts.run("forget_pictures", first)
    assert await store.scripts.run("forget_pictures", "J2") == first.encode()


async def test_pictures_of_a_job_that_is_being_read_are_not_forgotten(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    job_id = (await store.submit(NEW, b"upload", "print")).job_id
    valkey.client.hset(keyspace.PAGE_PAYLOADS(job_id), "1", "t1 rp")
    assert await store.scripts.run("forget_pictures", job_id) == b""
    assert fields(valkey, keyspace.PAGE_PAYLOADS(job_id)) == {"1": "t1 rp"}


# -- what an end leaves behind


@pytest.mark.parametrize("payloads", [True, False])
@pytest.mark.parametrize(("picture_ttl", "sooner"), [(50, True), (999, True), (TTL, False), ("", False), (None, False)])
async def test_a_result_goes_at_its_moment_and_its_pictures_at_theirs(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, payloads: bool, picture_ttl: Any, sooner: bool
) -> None:
    job_id = (await store.submit(NEW, b"upload", "print")).job_id
    store_fields = {"result_ttl": TTL, "picture_ttl": picture_ttl}
    valkey.client.hset(keyspace.JOB(job_id), mapping={k: v for k, v in store_fields.items() if v is not None})
    if picture_ttl is None:
        valkey.client.hdel(keyspace.JOB(job_id), "picture_ttl")
    if payloads:
        valkey.client.hset(keyspace.JOB(job_id), "payloads", "1")
    await store.cancel(job_id)
    expected = {f"events {job_id}": clock.now + 60}
    if payloads:
        expected[f"payloads {job_id}"] = clock.now + TTL
        if sooner:
            expected[f"pictures {job_id}"] = clock.now + int(picture_ttl)
    assert scores(valkey, keyspace.CLEANUPS()) == expected
    assert valkey.client.keys("same:*") == []


async def test_what_is_kept_of_a_result_goes_with_it(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    job_id = await read(store, claims, valkey, payloads=False)
    for key in (keyspace.PAGES, keyspace.PAGE_SUMMARIES, keyspace.PAGE_IMAGES, keyspace.FIGURES, keyspace.EVENTS):
        assert lives(valkey, key(job_id), TTL)
    assert lives(valkey, keyspace.JOB(job_id), 2 * TTL)


@pytest.mark.parametrize("missing", ["content", "reader"])
@pytest.mark.parametrize("how", ["empty", "not there"])
async def test_a_job_without_content_or_reader_stands_for_nothing_that_is_submitted_again(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, missing: str, how: str
) -> None:
    job_id = (await store.submit(NEW, b"upload", "print")).job_id
    claim = await claims.claim(job_id, "t1")
    assert claim is not None
    await claims.start(claim, "instant", READER)
    for number in (1, 2):
        await claims.page_end(claim, PageResult(number=number, status=PageStatus.OK))
    if how == "empty":
        valkey.client.hset(keyspace.JOB(job_id), missing, "")
    else:
        valkey.client.hdel(keyspace.JOB(job_id), missing)
    await claims.finish(claim)
    assert valkey.client.keys("same:*") == []
    assert await store.scripts.run("delete", job_id) == 1
    assert not valkey.client.exists(keyspace.JOB(job_id))


async def test_results_that_have_expired_stand_for_nothing_any_more(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock
) -> None:
    valkey.client.zadd(SAME, {"expired": clock.now, "kept": clock.now + 1.5})
    job_id = await read(store, claims, valkey, payloads=False)
    assert scores(valkey, SAME) == {"kept": clock.now + 1.5, job_id: clock.now + TTL}


@pytest.mark.parametrize("payloads", [True, False])
async def test_a_deleted_job_leaves_its_trace_and_the_end_of_its_events(
    store: Store, claims: Claims, valkey: Valkey, clock: StillClock, payloads: bool
) -> None:
    first = await read(store, claims, valkey, payloads=payloads)
    await again(store, "J2", "result_ttl", 500, "picture_ttl", 50)
    now = clock.forward(5)
    for job_id in (first, "J2", "J2"):
        assert await store.scripts.run("delete", job_id) == 1
    kept = (keyspace.JOB, keyspace.PAGES, keyspace.PAGE_SUMMARIES, keyspace.PAGE_IMAGES, keyspace.FIGURES,
            keyspace.PAGE_PAYLOADS)  # fmt: skip
    assert not valkey.client.exists(*(key(job_id) for key in kept for job_id in (first, "J2")))
    assert valkey.client.xlen(keyspace.EVENTS(first)) == 1
    assert lives(valkey, keyspace.EVENTS(first), 10)
    assert scores(valkey, SAME) == {}
    assert scores(valkey, keyspace.JOBS_OF_OWNER("me")) == {}
    assert scores(valkey, keyspace.ENDED_JOBS()) == {f"me {first}": now + 600, "me J2": now + 600}
    cleanups = {f"payloads {first}": now, f"shared J2:{first}": now} if payloads else {}
    assert scores(valkey, keyspace.CLEANUPS()) == cleanups
