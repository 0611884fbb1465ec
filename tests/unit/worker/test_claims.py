"""A worker's half of the store by itself: what it sends, what it makes of the answers, and whose claim counts."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from shared.contract.document import Figure, PageResult, PageStatus, Usage
from shared.contract.events import JobEvent, PageCompleted, PageRestarted, PageText
from shared.contract.job import JobProgress
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.errors import StoreUnavailable
from shared.store import keyspace
from shared.store.jobs import Store
from tests.conftest import make_settings
from tools.uploads import submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims


async def submitted(store: Store, pages: int = 1, **more: Any) -> str:
    return await submit(store, b"the upload", "application/pdf", pages, **more)


async def claimed(store: Store, claims: Claims, pages: int = 1, **more: Any) -> Claim:
    claim = await claims.claim(await submitted(store, pages, **more), "t1")
    assert claim is not None
    return claim


def ok(number: int, **more: Any) -> PageResult:
    return PageResult(number=number, status=PageStatus.OK, markdown=f"page {number}", **more)


async def lapse(store: Store, claim: Claim) -> None:
    """Let the lease run out."""
    await store.redis.hset(f"job:{claim.job.id}", "lease", 1)
    await store.redis.zadd("open", {claim.job.id: 1})


# -- claiming


async def test_a_claim_carries_the_job_its_token_and_nothing_begun(store: Store, claims: Claims) -> None:
    job_id = await submitted(store, 3, metadata={"a": 1})
    claim = await claims.claim(job_id, "t1")
    assert claim is not None
    assert (claim.job.id, claim.token, claim.ended, claim.starts) == (job_id, "t1", frozenset(), {})
    assert (claim.job.metadata, claim.job.progress.pages_total) == ({"a": 1}, 3)
    record = await store.redis.hgetall(f"job:{job_id}")
    assert (record[b"token"], record[b"worker"]) == (b"t1", b"worker-1")


async def test_a_lease_lasts_as_long_as_the_settings_say(store: Store, claims: Claims, valkey: Valkey) -> None:
    claims.settings = make_settings(valkey.url, lease=100)
    claim = await claimed(store, claims)
    seconds, _ = valkey.client.time()
    assert 98 < float(valkey.client.hget(f"job:{claim.job.id}", "lease") or 0) - seconds <= 101
    assert 98 < float(valkey.client.zscore("open", claim.job.id) or 0) - seconds <= 101


async def test_a_claim_knows_which_pages_have_ended_and_which_were_begun_in_vain(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims, 12)
    for number in (2, 10, 11):
        assert await claims.page_start(claim, number) == 1
    await claims.page_end(claim, ok(10))
    await claims.page_stop(claim, 11, forgive=True)
    await lapse(store, claim)
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert (set(again.ended), again.starts) == ({10}, {2: 1, 10: 1})


@pytest.mark.parametrize("state", ["unknown", "claimed", "cancelled"])
async def test_what_cannot_be_claimed_is_none(store: Store, claims: Claims, state: str) -> None:
    job_id = "01JD0000000000000000000000" if state == "unknown" else await submitted(store)
    if state == "claimed":
        assert await claims.claim(job_id, "t0")
    if state == "cancelled":
        await store.cancel(job_id)
    assert await claims.claim(job_id, "t1") is None


async def test_the_upload_is_the_callers_bytes_until_the_job_ends(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert await claims.upload(claim.job.id) == (memoryview(b"the upload"), None)
    await store.cancel(claim.job.id)
    assert await claims.upload(claim.job.id) is None


# -- pages


async def test_a_start_is_an_attempt_counted_once_and_names_the_engine(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert [await claims.start(claim, "cpu"), await claims.start(claim, "cpu")] == [1, 1]
    job = await store.job(claim.job.id)
    assert (job.attempt, job.engine, job.status) == (1, "cpu", "processing")
    await lapse(store, claim)
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert await claims.start(again, "cpu") == 2


async def test_a_page_begun_twice_by_the_same_worker_is_one_start(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert [await claims.page_start(claim, 1), await claims.page_start(claim, 1)] == [1, 1]


@pytest.mark.parametrize(("forgive", "starts"), [(True, {}), (False, {1: 1})])
async def test_a_page_that_goes_back_counts_unless_it_is_forgiven(
    store: Store, claims: Claims, forgive: bool, starts: dict[int, int]
) -> None:
    claim = await claimed(store, claims)
    await claims.page_start(claim, 1)
    await claims.page_stop(claim, 1, forgive=forgive)
    await lapse(store, claim)
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert again.starts == starts
    reasons = [event.event.payload() for event in await store.events(claim.job.id) if event.name == "page.restarted"]
    assert reasons == [{"page": 1, "reason": "engine-lost"}]


async def test_a_pages_end_stores_all_of_it_and_says_so(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims, 2)
    usage = Usage(prompt_tokens=3, completion_tokens=5, engine_seconds=0.25)
    figures = tuple(Figure(name=f"2_{i}.jpg", bbox=(0, 0, 5, 5)) for i in range(2))
    page = PageResult(
        number=2, status=PageStatus.DEGRADED, reason="length", attempts=3, markdown="text", usage=usage, figures=figures
    )
    assert await claims.page_end(claim, page, b"webp", [("2_0.jpg", b"a"), ("2_1.jpg", b"b")]) is True
    assert await store.page(claim.job.id, 2) == page
    assert await store.page_image(claim.job.id, 2) == b"webp"
    assert await store.figures(claim.job.id) == {"2_0.jpg": b"a", "2_1.jpg": b"b"}
    job = await store.job(claim.job.id)
    (mark,) = job.pages
    assert (mark.number, mark.status, mark.reason, mark.attempts) == (2, "degraded", "length", 3)
    assert job.usage == usage
    event = (await store.events(claim.job.id))[-1].event
    assert isinstance(event, PageCompleted)
    assert (event.page, event.status, event.reason, event.attempts) == (2, "degraded", "length", 3)
    assert event.progress == JobProgress(pages_total=2, pages_done=1, pages_failed=0)


async def test_a_page_without_a_picture_leaves_none(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims)
    await claims.page_end(claim, ok(1))
    assert await store.page_image(claim.job.id, 1) is None
    assert valkey.client.exists(f"img:{claim.job.id}", f"fig:{claim.job.id}") == 0


async def test_events_are_appended_in_their_order_with_their_text_as_it_is(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    events: list[JobEvent] = [PageText(page=1, text="Übung ✓"), PageRestarted(page=1, reason="length")]
    assert await claims.stream(claim, events) is True
    assert [entry.event for entry in (await store.events(claim.job.id))[1:]] == events
    (_, raw), *_ = await store.redis.xrange(f"ev:{claim.job.id}", min="(" + (await store.events(claim.job.id))[0].id)
    assert "Übung ✓".encode() in raw[b"data"]


# -- ends


async def test_a_job_ends_by_what_its_pages_say(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert await claims.finish(claim) == "incomplete"
    await claims.page_end(claim, ok(1))
    assert await claims.finish(claim) == "succeeded"
    assert await claims.finish(claim) == "succeeded", "asked again after a lost reply"
    assert await claims.finish(replace(claim, token="other")) == ""


async def test_a_failed_job_says_why(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    await claims.fail(claim, "internal", "for a reason")
    job = await store.job(claim.job.id)
    assert (job.status, job.error and (job.error.code, job.error.detail)) == ("failed", ("internal", "for a reason"))


@pytest.mark.parametrize(("forgive", "starts"), [(None, {}), (True, {}), (False, {1: 1})])
async def test_a_job_that_is_given_back_is_queued_with_a_message_of_its_own(
    store: Store, claims: Claims, valkey: Valkey, forgive: bool | None, starts: dict[int, int]
) -> None:
    claims.settings = make_settings(valkey.url, requeue_after=50)
    claim = await claimed(store, claims)
    valkey.client.delete("ocr\x06\x163")
    await claims.start(claim, "x")
    await claims.page_start(claim, 1)
    await claims.release(claim, **({} if forgive is None else {"forgive": forgive}))
    (message,) = valkey.client.lrange("ocr\x06\x163", 0, -1)
    assert json.loads(base64.b64decode(json.loads(message)["body"]))[0] == [claim.job.id]
    seconds, _ = valkey.client.time()
    assert 48 < float(valkey.client.zscore("open", claim.job.id) or 0) - seconds <= 51
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert again.starts == starts


async def test_with_another_token_nothing_is_written(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = replace(await claimed(store, claims), token="stale")
    before = valkey.client.dump(f"job:{claim.job.id}"), valkey.client.dump(f"ev:{claim.job.id}")
    assert await claims.start(claim, "x") == 0
    assert await claims.page_start(claim, 1) == 0
    await claims.page_stop(claim, 1, forgive=True)
    assert await claims.page_end(claim, ok(1)) is False
    assert await claims.stream(claim, [PageText(page=1, text="x")]) is False
    assert await claims.finish(claim) == ""
    await claims.fail(claim, "x", "y")
    await claims.release(claim)
    assert (valkey.client.dump(f"job:{claim.job.id}"), valkey.client.dump(f"ev:{claim.job.id}")) == before


# -- renewing and reaping


async def test_renewing_names_exactly_the_claims_that_are_lost(store: Store, claims: Claims, valkey: Valkey) -> None:
    held, lost, deleted = [await claimed(store, claims) for _ in range(3)]
    await store.cancel(lost.job.id)
    await store.delete(deleted.job.id)
    claims.settings = make_settings(valkey.url, lease=1000)
    assert await claims.renew([held, lost, deleted]) == {lost.job.id, deleted.job.id}
    seconds, _ = valkey.client.time()
    assert 990 < float(valkey.client.hget(f"job:{held.job.id}", "lease") or 0) - seconds <= 1001
    assert await claims.renew([held]) == set()


async def test_renewing_nothing_asks_nothing(claims: Claims, valkey: Valkey) -> None:
    valkey.client.config_resetstat()
    assert await claims.renew([]) == set()
    assert "cmdstat_evalsha" not in valkey.client.info("commandstats")


async def test_reaping_counts_what_it_put_back_or_ended_and_leaves_the_rest(store: Store, claims: Claims) -> None:
    dead, alive = await claimed(store, claims), await claimed(store, claims)
    await claims.start(dead, "x")
    await lapse(store, dead)
    await store.redis.zadd("open", {alive.job.id: 1, "01JD0000000000000000000000": 1})
    await store.redis.delete(keyspace.QUEUE("3"))
    assert await claims.reap() == 1
    assert (await store.job(dead.job.id)).status == "queued"
    (message,) = await store.redis.lrange(keyspace.QUEUE("3"), 0, -1)
    assert json.loads(base64.b64decode(json.loads(message)["body"]))[0] == [dead.job.id]
    assert not await claims.page_start(dead, 1)
    assert await claims.page_start(alive, 1) == 1
    assert await claims.reap() == 0


async def test_reaping_takes_so_many_and_the_longest_overdue_first(store: Store, claims: Claims) -> None:
    dead = [await claimed(store, claims) for _ in range(3)]
    for age, claim in enumerate(dead):
        await lapse(store, claim)
        await store.redis.zadd("open", {claim.job.id: 10 - age})
    assert await claims.reap(most=2) == 2
    assert [await claims.renew([claim]) == {claim.job.id} for claim in dead] == [False, True, True]


async def test_reaping_looks_at_a_hundred_jobs_at_most(store: Store, claims: Claims, valkey: Valkey) -> None:
    for number in range(101):
        valkey.client.zadd("open", {f"{number:026d}": 1})
    await claims.reap()
    assert valkey.client.zcard("open") == 1


async def test_a_lost_message_is_sent_again_later_and_later(store: Store, claims: Claims, valkey: Valkey) -> None:
    claims.settings = make_settings(valkey.url, requeue_after=10)
    job_id = await submitted(store)
    waits = []
    for _ in range(3):
        valkey.client.zadd("open", {job_id: 1})
        assert await claims.reap() == 1
        seconds, _micro = valkey.client.time()
        waits.append(round(float(valkey.client.zscore("open", job_id) or 0) - seconds, -1))
    assert waits == [20, 40, 80]
    assert valkey.client.llen("ocr\x06\x163") == 4


@pytest.mark.parametrize(("queue", "sent"), [("whole", 256), ("lost", 300)])
async def test_a_message_is_sent_again_where_a_jobs_turn_is_near_or_its_queue_is_too_short_to_hold_it(
    store: Store, claims: Claims, valkey: Valkey, queue: str, sent: int
) -> None:
    claims.settings = make_settings(valkey.url, requeue_after=10)
    jobs = [await submitted(store) for _ in range(300)]
    if queue == "lost":
        valkey.client.delete("ocr\x06\x163")
    valkey.client.zadd("open", dict.fromkeys(jobs, 1))
    assert await claims.reap(most=300) == sent
    assert valkey.client.llen("ocr\x06\x163") == sent + (300 if queue == "whole" else 0)
    assert await claims.reap(most=300) == 0
    seconds, _micro = valkey.client.time()
    if queue == "whole":
        assert 38 < float(valkey.client.zscore("open", jobs[-1]) or 0) - seconds <= 41


# -- being heard of


async def test_a_worker_is_believed_for_ten_seconds_and_no_longer(store: Store, claims: Claims, valkey: Valkey) -> None:
    status = WorkerStatus(name="worker-1", slots=3, engine=EngineStatus("instant"))
    await claims.report(status)
    assert await store.workers() == [status]
    assert 8 < valkey.client.ttl("worker:worker-1") <= 10
    await claims.retire()
    assert await store.workers() == []
    assert valkey.client.exists("worker:worker-1", "workers") == 0


@pytest.mark.parametrize("call", ["upload", "reap", "report", "retire", "claim"])
async def test_a_store_that_is_away_is_told_as_such(store: Store, claims: Claims, valkey: Valkey, call: str) -> None:
    valkey.client.config_set("min-replicas-to-write", 1)
    broken = Claims(_Away(), claims.settings, "worker-1")
    status = WorkerStatus(name="worker-1", engine=EngineStatus("instant"))
    arguments: dict[str, tuple[Any, ...]] = {"upload": ("x",), "report": (status,), "claim": ("x", "t")}
    try:
        with pytest.raises(StoreUnavailable):
            await getattr(broken, call)(*arguments.get(call, ()))
    finally:
        valkey.client.config_set("min-replicas-to-write", 0)


class _Away:
    """A client of a server that is not there."""

    def __getattr__(self, name: str) -> Any:
        from redis.exceptions import ConnectionError as Lost

        def lost(*_: Any, **__: Any) -> Any:
            raise Lost("away")

        return lost
