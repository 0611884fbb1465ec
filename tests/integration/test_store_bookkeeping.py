"""What the scripts write down beside a job's own state: when what goes, histograms, usage, counts."""

from __future__ import annotations

import time
from typing import cast

import pytest

from shared.contract.document import PageResult, PageStatus
from shared.errors import NotFound
from shared.store.jobs import Store
from shared.store.keyspace import HISTOGRAM_BOUNDS
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
