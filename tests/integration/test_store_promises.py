"""What the store keeps, for how long and in which order, beyond the transitions of a single job."""

from __future__ import annotations

import base64
import json

import pytest

from shared.contract.document import PageResult, PageStatus
from shared.contract.job import WebhookTarget
from shared.contract.options import Options
from shared.errors import RateLimited
from shared.store.jobs import Store
from tests.conftest import make_settings
from tools.uploads import submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims

QUEUE = "ocr\x06\x163"


async def submitted(store: Store, pages: int = 1, **more: object) -> str:
    return await submit(store, b"upload", "application/pdf", pages, **more)


async def claimed(store: Store, claims: Claims, pages: int = 1) -> Claim:
    claim = await claims.claim(await submitted(store, pages), "t1")
    assert claim is not None
    return claim


def next_jobs(valkey: Valkey, queue: str = QUEUE) -> list[str]:
    """The ids of the queued messages in the order in which workers will get them."""
    messages = valkey.client.lrange(queue, 0, -1)[::-1]  # Celery takes from the right
    return [json.loads(base64.b64decode(json.loads(message)["body"]))[0][0] for message in messages]


async def test_a_record_outlives_its_result_so_that_a_late_caller_hears_of_the_expiry(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    claim = await claimed(store, claims)
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK), b"webp", [("1_0.jpg", b"jpeg")])
    await claims.finish(claim)
    ttl = store.settings.result_ttl
    for kind in ("pages", "marks", "stored", "ev"):
        assert ttl - 5 <= valkey.client.ttl(f"{kind}:{claim.job.id}") <= ttl, kind
    assert 2 * ttl - 5 <= valkey.client.ttl(f"job:{claim.job.id}") <= 2 * ttl


async def test_an_idempotency_key_is_remembered_for_its_time_and_no_longer(store: Store, valkey: Valkey) -> None:
    store.settings = make_settings(valkey.url, idempotency_ttl=1234)
    await submitted(store, idempotency_key="k")
    (key,) = valkey.client.keys("idem:*")
    assert 1230 <= valkey.client.ttl(key) <= 1234


async def test_a_job_that_a_stopping_worker_gives_back_is_the_next_to_be_read(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    first, second, third = [await submitted(store) for _ in range(3)]
    assert next_jobs(valkey) == [first, second, third]
    valkey.client.rpop(QUEUE)
    claim = await claims.claim(first, "t")
    assert claim is not None
    await claims.start(claim, "instant")
    await claims.release(claim)
    assert next_jobs(valkey) == [first, second, third]


async def test_a_job_whose_worker_died_is_the_next_to_be_read(store: Store, claims: Claims, valkey: Valkey) -> None:
    first, second = [await submitted(store) for _ in range(2)]
    valkey.client.rpop(QUEUE)
    claims.settings = make_settings(valkey.url, lease=1e-6)
    claim = await claims.claim(first, "t")
    assert claim is not None
    await claims.start(claim, "instant")
    assert await claims.reap() == 1
    assert next_jobs(valkey) == [first, second]


@pytest.mark.parametrize(("priority", "queue"), [("high", "ocr"), ("normal", QUEUE), ("low", "ocr\x06\x166")])
async def test_a_priority_has_a_queue_of_its_own(store: Store, valkey: Valkey, priority: str, queue: str) -> None:
    ids = [await submitted(store, options=Options.model_validate({"priority": priority})) for _ in range(2)]
    assert next_jobs(valkey, queue) == ids


async def test_a_claim_after_a_death_voids_what_the_dead_worker_had_streamed(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    """Also where no reaper has looked at the job in between."""
    claims.settings = make_settings(valkey.url, lease=1e-6)
    claim = await claimed(store, claims, 2)
    await claims.start(claim, "instant")
    assert await claims.page_start(claim, 2) == 1
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    voided = [event.event.payload() for event in await store.events(claim.job.id) if event.name == "page.restarted"]
    assert voided == [{"page": 2, "reason": "worker-lost"}]
    assert again.starts == {2: 1}
    assert await claims.page_start(again, 2) == 2, "a page that kills its workers is counted every time"


async def test_a_cancelled_jobs_pages_are_no_longer_ahead_of_others(store: Store) -> None:
    cancelled = await submitted(store, 3)
    waiting = await submitted(store, 2)
    await store.cancel(cancelled)
    later = await submitted(store)
    places = []
    for job_id in (waiting, later):
        queue = (await store.job(job_id)).queue
        assert queue is not None
        places.append((queue.position, queue.pages_ahead))
    assert places == [(1, 0), (2, 2)]


async def test_a_failed_jobs_last_event_says_why_and_another_jobs_does_not(store: Store, claims: Claims) -> None:
    failed, cancelled = await claimed(store, claims), await submitted(store)
    await claims.fail(failed, "internal", "a reason")
    await store.cancel(cancelled)
    last = [(await store.events(job_id))[-1].event.payload() for job_id in (failed.job.id, cancelled)]
    assert last == [
        {"status": "failed", "error": {"code": "internal", "detail": "a reason"}},
        {"status": "cancelled", "error": None},
    ]


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
async def test_a_job_that_has_ended_stays_as_it_ended_whoever_claims_it(store: Store, claims: Claims, end: str) -> None:
    claim = await claimed(store, claims)
    if end == "succeeded":
        await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK))
        await claims.finish(claim)
    elif end == "failed":
        await claims.fail(claim, "internal", "x")
    else:
        await store.cancel(claim.job.id)
    before = await store.job(claim.job.id)
    assert await claims.claim(claim.job.id, "late") is None
    after = await store.job(claim.job.id)
    assert (after.status, after.error, after.completed_at) == (end, before.error, before.completed_at)


async def test_a_page_that_ended_is_no_longer_in_flight(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims, 2)
    for number in (1, 2):
        await claims.page_start(claim, number)
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK))
    assert valkey.client.hkeys(f"flight:{claim.job.id}") == [b"2"]
    await claims.release(claim)
    restarted = [event.event.payload() for event in await store.events(claim.job.id) if event.name == "page.restarted"]
    assert restarted == [{"page": 2, "reason": "worker-stopped"}]


async def test_pages_of_a_day_add_up_to_the_quota(store: Store, valkey: Valkey) -> None:
    for pages in (2, 2):
        await submitted(store, pages, owner="me", page_quota=5)
    with pytest.raises(RateLimited):
        await submitted(store, 2, owner="me", page_quota=5)
    await submitted(store, 1, owner="me", page_quota=5)
    await submitted(store, 5, owner="you", page_quota=5)
    (key,) = valkey.client.keys("quota:me:*")
    assert valkey.client.get(key) == b"5"
    assert 2 * 86_400 - 5 <= valkey.client.ttl(key) <= 2 * 86_400


async def test_an_owners_list_goes_with_its_last_record(store: Store, valkey: Valkey) -> None:
    await submitted(store, owner="me")
    horizon = store.settings.max_job_age + 2 * store.settings.result_ttl
    assert horizon - 5 <= valkey.client.ttl("jobs:me") <= horizon


async def test_a_webhook_is_kept_longer_than_its_jobs_record(store: Store, valkey: Valkey) -> None:
    target = WebhookTarget(url="https://example.org/hook", events=("job.cancelled",))
    job_id = await submitted(store, webhook=target)
    await store.cancel(job_id)
    kept = 2 * store.settings.result_ttl + 86_400
    for key in (f"hooks:{job_id}", f"hook:msg_{job_id}_cancelled"):
        assert kept - 5 <= valkey.client.ttl(key) <= kept, key
