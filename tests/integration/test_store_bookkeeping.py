"""What the scripts write down beside a job's own state: when what goes, histograms, usage, counts."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from shared.contract.document import PageResult, PageStatus, Usage
from shared.contract.options import Options, Priority
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.administration import Administration
from shared.store.jobs import Store
from shared.store.keyspace import HISTOGRAM_BOUNDS
from shared.store.webhooks import WebhookStore
from tests.conftest import make_settings
from tools.uploads import submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims

DAY = 24 * 3600
NEAR = 5.0  # seconds a test may take


async def claimed(store: Store, claims: Claims, pages: int = 1, owner: str = "anonymous") -> Claim:
    job_id = await submit(store, b"upload", "application/pdf", pages, owner=owner)
    claim = await claims.claim(job_id, "t1")
    assert claim is not None
    await claims.start(claim, "instant")
    return claim


def score(valkey: Valkey, key: str, member: str) -> float:
    found = valkey.client.zscore(key, member)
    assert found is not None, member
    return float(found)


def numbers(valkey: Valkey, key: str) -> dict[str, int]:
    values = cast("dict[bytes, bytes]", valkey.client.hgetall(key))
    return {name.decode(): int(value) for name, value in values.items()}


def histogram(valkey: Valkey, series: str) -> dict[str, int]:
    """The buckets of a series, and its ``sum`` in microseconds."""
    values = numbers(valkey, "histograms").items()
    return {name.rpartition("|")[2]: value for name, value in values if name.startswith(f"{series}|")}


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
async def test_an_ended_job_is_written_down_with_the_moments_of_what_follows(
    store: Store, claims: Claims, valkey: Valkey, ending: str
) -> None:
    store.settings = make_settings(valkey.url, result_ttl=1000)
    claim = await claimed(store, claims, owner="alice")
    job_id = claim.job.id
    if ending == "succeeded":
        await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK))
        await claims.finish(claim)
    elif ending == "failed":
        await claims.fail(claim, "engine-failed", "It did")
    else:
        await store.cancel(job_id)
    now = time.time()
    record = cast("dict[bytes, bytes]", valkey.client.hgetall(f"job:{job_id}"))
    ((last, _),) = cast("list[tuple[bytes, object]]", valkey.client.xrevrange(f"ev:{job_id}", count=1))
    assert float(record[b"expires"]) == pytest.approx(now + 1000, abs=NEAR)
    assert (record[b"token"], float(record[b"lease"])) == (b"", 0)
    assert record[b"done_event"] == last
    assert score(valkey, "untold", job_id) == pytest.approx(now + 15, abs=NEAR)
    assert score(valkey, "cleanups", f"events {job_id}") == pytest.approx(now + 60, abs=NEAR)
    assert score(valkey, "jobs:/ended", f"alice {job_id}") == pytest.approx(now + 2000, abs=NEAR)
    assert valkey.client.zscore("cleanups", f"payloads {job_id}") is None  # it has none
    assert valkey.client.zscore("cleanups", f"upload {job_id}") is None
    assert numbers(valkey, "counters")[f"ended:{ending}"] == 1
    buckets = histogram(valkey, f"job|{ending}")
    assert sum(count for name, count in buckets.items() if name != "sum") == 1
    assert 0 < buckets["sum"] < NEAR * 1e6


@pytest.mark.parametrize(("picture_ttl", "kept"), [(50, 50), (1000, 1000), (2000, 1000), (None, 1000)])
async def test_pictures_are_kept_for_their_time_and_no_longer_than_the_result(
    store: Store, claims: Claims, valkey: Valkey, picture_ttl: int | None, kept: int
) -> None:
    store.settings = make_settings(valkey.url, result_ttl=1000, picture_ttl=picture_ttl)
    store.payloads = claims.payloads = None  # as with `redis:`
    claim = await claimed(store, claims)
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK), b"webp")
    await claims.finish(claim)
    assert kept - NEAR < valkey.client.ttl(f"img:{claim.job.id}") <= kept


async def test_the_pages_of_a_job_that_fails_are_no_longer_waited_for(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims, pages=5)
    for number, status in ((1, PageStatus.OK), (2, PageStatus.FAILED)):
        await claims.page_end(claim, PageResult(number=number, status=status))
    await claims.fail(claim, "engine-failed", "It did")
    counters = numbers(valkey, "counters")
    assert (counters["pages"], counters["jobs"], counters["bytes"], counters["fin:3"]) == (0, 0, 0, 5)


@pytest.mark.parametrize("place", [0, 7, len(HISTOGRAM_BOUNDS) - 1, len(HISTOGRAM_BOUNDS)])
async def test_a_value_is_counted_in_the_one_bucket_where_it_belongs(
    store: Store, claims: Claims, valkey: Valkey, place: int
) -> None:
    claim = await claimed(store, claims)
    bound = HISTOGRAM_BOUNDS[place] if place < len(HISTOGRAM_BOUNDS) else 2 * HISTOGRAM_BOUNDS[-1]
    await claims.page_start(claim, 1, bound)
    buckets = histogram(valkey, "render")
    assert buckets == {str(place + 1): 1, "sum": round(bound * 1e6)}


async def test_the_first_text_of_a_job_is_measured_once(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims, pages=2)
    for number in (1, 2):
        await claims.page_end(claim, PageResult(number=number, status=PageStatus.OK))
    buckets = histogram(valkey, "first_text")
    assert sum(count for name, count in buckets.items() if name != "sum") == 1
    assert 0 < buckets["sum"] < NEAR * 1e6


async def test_what_an_owner_uses_is_added_up_by_day_and_kept_for_a_year(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    for pages in (2, 3):
        await submit(store, b"upload", "application/pdf", pages, owner="alice")
    (key,) = cast("list[bytes]", valkey.client.keys("usage:*"))
    assert key.decode() == f"usage:{int(time.time() // DAY)}"
    used = numbers(valkey, key.decode())
    assert used == {"alice|jobs": 2, "alice|pages": 5, "alice|bytes": 12}
    assert 400 * DAY - NEAR < valkey.client.ttl(key) <= 400 * DAY


async def test_an_engine_that_started_is_counted_once(claims: Claims, valkey: Valkey) -> None:
    for _ in range(2):
        await claims.engine_started()
    assert numbers(valkey, "counters")["engine_starts"] == 1


async def test_pages_whose_reader_is_gone_are_counted_as_read_again(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims, pages=2)
    for number in (1, 2):
        await claims.page_start(claim, number)
    await claims.release(claim)
    counters = numbers(valkey, "counters")
    assert sum(value for name, value in counters.items() if name.startswith("retries:")) == 2


async def test_a_deleted_job_leaves_a_trace_for_ten_minutes_and_nothing_to_clean_up(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims, owner="alice")
    job_id = claim.job.id
    store.payloads = claims.payloads = None  # as with `redis:`
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK))
    await claims.finish(claim)
    await store.delete(job_id)
    assert score(valkey, "jobs:/ended", f"alice {job_id}") == pytest.approx(time.time() + 600, abs=NEAR)
    assert valkey.client.zrange("cleanups", 0, -1) == []
    assert numbers(valkey, "counters").get("ended:cancelled", 0) == 0  # it had ended by itself


async def test_cancelling_a_job_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.cancel("01ARZ3NDEKTSV4RRFFQ69G5FAV")


async def test_a_job_that_waits_gets_another_priority_with_all_that_goes_by_it(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    administration = Administration(store, WebhookStore(store.redis, make_settings(valkey.url)))
    for pages in (4, 2):
        await submit(store, b"upload", "application/pdf", pages, options=Options(priority=Priority.HIGH))
    claim = await claimed(store, claims, pages=3)
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK))
    await claims.page_end(claim, PageResult(number=2, status=PageStatus.FAILED))
    job_id = claim.job.id
    assert not await administration.reprioritise(await store.job(job_id), Priority.HIGH)  # it is being read
    await claims.release(claim)
    before = valkey.client.llen(keyspace.QUEUE_HIGH())
    for _ in range(2):  # the second time it has it
        assert await administration.reprioritise(await store.job(job_id), Priority.HIGH)
    counters = numbers(valkey, "counters")
    assert (counters["fin:3"], counters["sub:0"]) == (3, 7)  # one page is left of it, and six were there
    record = cast("dict[bytes, bytes]", valkey.client.hgetall(f"job:{job_id}"))
    assert (record[b"rank"], record[b"before"], record[b"pages_submitted_before"]) == (b"0", b"6", b"6")
    assert (await store.job(job_id)).options.priority is Priority.HIGH
    assert valkey.client.zscore(keyspace.WAITING("3"), job_id) is None
    assert score(valkey, keyspace.WAITING("0"), job_id) == float(record[b"created"])
    assert valkey.client.llen(keyspace.QUEUE_HIGH()) == before + 1
    assert job_id.encode() in cast("bytes", valkey.client.lindex(keyspace.QUEUE_HIGH(), 0))  # behind the others
    await store.cancel(job_id)
    assert not await administration.reprioritise(await store.job(job_id), Priority.LOW)


async def test_a_page_is_written_down_with_its_parts_its_reason_and_what_it_took(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    store.payloads = claims.payloads = None  # as with `redis:`
    claim = await claimed(store, claims, pages=2, owner="alice")
    job_id = claim.job.id
    await claims.page_start(claim, 1)
    read = PageResult(
        number=1, status=PageStatus.DEGRADED, reason="length", markdown="text",
        usage=Usage(prompt_tokens=7, completion_tokens=5, engine_seconds=1.5),
    )  # fmt: skip
    figures = [("1_0.jpg", b"first"), ("1_1.jpg", b"second")]
    for _ in range(2):  # a second result is dropped
        assert await claims.page_end(claim, read, b"webp", figures)
    assert valkey.client.hgetall(f"fig:{job_id}") == {name.encode(): data for name, data in figures}
    assert valkey.client.hgetall(f"img:{job_id}") == {b"1": b"webp"}
    assert cast("dict[bytes, bytes]", valkey.client.hgetall(f"pages:{job_id}")).keys() == {b"1"}
    record = cast("dict[bytes, bytes]", valkey.client.hgetall(f"job:{job_id}"))
    assert (record[b"pages_done"], record[b"pages_degraded"], record.get(b"payloads")) == (b"1", b"1", b"")
    assert (record[b"prompt_tokens"], record[b"completion_tokens"], float(record[b"engine_seconds"])) == (
        b"7", b"5", 1.5,
    )  # fmt: skip
    counters = numbers(valkey, "counters")
    assert (counters["pages:degraded"], counters["reason:degraded:length"], counters["pages"]) == (1, 1, 1)
    assert numbers(valkey, f"usage:{int(time.time() // DAY)}")["alice|tokens"] == 12
    buckets = histogram(valkey, "page|instant|degraded")
    assert sum(count for name, count in buckets.items() if name != "sum") == 1
    assert 0 <= buckets["sum"] < NEAR * 1e6
    rates = cast("list[bytes]", valkey.client.keys("rate:*"))
    assert {key.decode().rstrip("0123456789") for key in rates} == {"rate:", "rate:busy:", "rate:last"}
    assert all(90 - NEAR < valkey.client.ttl(key) <= 90 for key in rates)
    (busy,) = cast("list[bytes]", valkey.client.keys("rate:busy:*"))
    assert 0 <= float(cast("bytes", valkey.client.get(busy))) < 1  # so long was it read


async def test_a_page_whose_payloads_lie_elsewhere_is_written_down_as_such(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims)
    job_id, page = claim.job.id, PageResult(number=1, status=PageStatus.OK)
    reply = await claims.scripts.run(
        "page_end", job_id, claim.token, 1, 1, "ok", "", page.model_dump_json(), f"{claim.token} rp", b"", 0, 0, 0
    )
    assert reply == 1
    record = cast("dict[bytes, bytes]", valkey.client.hgetall(f"job:{job_id}"))
    assert (record[b"payloads"], record.get(b"pages_degraded", b"0")) == (b"1", b"0")
    assert valkey.client.hgetall(f"stored:{job_id}") == {b"1": f"{claim.token} rp".encode()}
    assert not valkey.client.exists(f"pages:{job_id}", f"img:{job_id}", f"fig:{job_id}")


async def test_a_page_that_goes_back_is_counted_and_by_the_claim_that_holds_it_alone(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims)
    await claims.page_start(claim, 1)
    assert await claims.scripts.run("page_stop", claim.job.id, "another", 1, next(claim.steps), 1) == 0
    assert "retries:engine-lost" not in numbers(valkey, "counters")
    await claims.page_stop(claim, 1, forgive=True)
    assert numbers(valkey, "counters")["retries:engine-lost"] == 1
    assert numbers(valkey, f"starts:{claim.job.id}") == {"1": 0}


async def test_a_job_is_looked_at_when_it_is_time_and_no_earlier(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims)
    job_id, redis = claim.job.id, valkey.client
    await claims.page_start(claim, 1)
    lease = float(cast("bytes", redis.hget(f"job:{job_id}", "lease")))

    async def reaped(operation: str, due: float) -> tuple[str, Any]:
        redis.zadd(keyspace.NEXT_CHECK(), {job_id: due})
        reply = await claims.scripts.run("reap", job_id, "message", 15, operation)
        return reply.decode(), score(valkey, keyspace.NEXT_CHECK(), job_id)

    later = time.time() + 1000
    assert await reaped("a", later) == ("", later)
    assert await reaped("b", 1) == ("", pytest.approx(lease, abs=0.01))  # its worker lives
    assert "retries:worker-lost" not in numbers(valkey, "counters")
    redis.hset(f"job:{job_id}", "lease", 1)
    reply, due = await reaped("c", 1)
    assert (reply, due) == ("requeued", pytest.approx(time.time() + 15, abs=NEAR))
    assert (await reaped("c", 1))[0] == "requeued"  # the same call a second time
    counters = numbers(valkey, "counters")
    assert (counters["retries:worker-lost"], counters["leases_lost"]) == (1, 1)
    assert redis.hget(f"job:{job_id}", "requeues") in (None, b"0")
    redis.zrem(keyspace.NEXT_CHECK(), job_id)
    assert await claims.scripts.run("reap", job_id, "message", 15, "d") == b""


@pytest.mark.parametrize(("field", "code"), [("deadline", "deadline-exceeded"), ("created", "job-expired")])
async def test_a_job_that_is_overdue_fails_when_it_is_looked_at(
    store: Store, claims: Claims, valkey: Valkey, field: str, code: str
) -> None:
    job_id = await submit(store, b"upload", "application/pdf", 1)
    valkey.client.hset(f"job:{job_id}", field, 1)
    valkey.client.zadd(keyspace.NEXT_CHECK(), {job_id: 1})
    for _ in range(2):  # the same call a second time
        assert await claims.scripts.run("reap", job_id, "message", 15, "once") == b"ended"
    job = await store.job(job_id)
    assert (job.status.value, job.error and job.error.code) == ("failed", code)


async def test_a_job_that_is_given_back_waits_at_its_own_place(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims)
    job_id = claim.job.id
    assert valkey.client.zscore(keyspace.WAITING("3"), job_id) is None
    await claims.release(claim)
    record = cast("dict[bytes, bytes]", valkey.client.hgetall(f"job:{job_id}"))
    assert (record[b"status"], record[b"token"], record[b"lease"]) == (b"queued", b"", b"0")
    assert score(valkey, keyspace.WAITING("3"), job_id) == float(record[b"created"])
    assert numbers(valkey, "counters")["running"] == 0
