"""The store's webhooks by themselves: what a caller sees of them, what waits how long, and what is refused why."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.contract.job import WebhookTarget
from shared.errors import NotFound, RateLimited, StoreUnavailable
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhooks import (
    AGAIN_MOST,
    JITTER,
    QUEUE,
    RETRY_AFTER_MOST,
    SLACK,
    TASK,
    Due,
    Ended,
    WebhookOutcome,
    WebhookStore,
)
from tests.conftest import make_settings
from tools.uploads import submit
from tools.valkey import Valkey

URL = "https://example.org/hook"


@pytest.fixture
async def hooks(valkey: Valkey) -> AsyncIterator[WebhookStore]:
    client = connect(valkey.url, patient=False)
    yield WebhookStore(client, make_settings(valkey.url, webhook_schedule=(0, 10, 300)))
    await client.aclose()


async def cancelled(store: Store, url: str = URL, **more: Any) -> str:
    target = WebhookTarget(url=url, events=("job.cancelled",))
    job_id = await submit(store, b"x", "image/png", webhook=target, **more)
    await store.cancel(job_id)
    return job_id


async def began(hooks: WebhookStore) -> Due:
    (lease,) = await hooks.take()
    due = await hooks.begin(lease)
    assert due is not None
    return due


async def test_a_caller_sees_a_webhook_from_its_first_moment_to_its_end(store: Store, hooks: WebhookStore) -> None:
    job_id, before = await cancelled(store), time.time()
    (state,) = await hooks.webhooks(job_id)
    assert (state.id, state.event, state.url) == (f"msg_{job_id}_cancelled", "job.cancelled", URL)
    assert (state.status, state.tries, state.next_at) == ("pending", 0, state.created_at)
    assert abs(state.created_at - before) < 30
    due = await began(hooks)
    (state,) = await hooks.webhooks(job_id)
    assert (state.status, state.tries, state.next_at) == ("sending", 1, None)
    assert await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.12345, 503, "no")) == "pending"
    (state,) = await hooks.webhooks(job_id)
    assert state.next_at is not None
    assert 9 < state.next_at - time.time() <= 10 * (1 + JITTER) + 1
    (delivery,) = await hooks.deliveries(job_id)
    assert (delivery.number, delivery.webhook_id, delivery.event) == (1, state.id, "job.cancelled")
    assert (delivery.status_code, delivery.error, delivery.seconds) == (503, "no", 0.123)
    assert abs(delivery.at - before) < 30


async def test_a_webhook_whose_record_has_expired_is_not_listed(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    await hooks.redis.delete(f"hook:msg_{job_id}_cancelled")
    assert await hooks.webhooks(job_id) == []


@pytest.mark.parametrize(
    ("tries", "asked", "least", "most"),
    [
        (0, None, 0.0, 0.0), (1, None, 10.0, 12.0), (2, None, 300.0, 360.0), (1, 0.0, 10.0, 12.0), (1, 5.0, 10.0, 12.0),
        (1, 900.0, 900.0, 900.0), (2, 900.0, 900.0, 900.0), (1, 10.0**9, RETRY_AFTER_MOST, RETRY_AFTER_MOST),
    ],
)  # fmt: skip
def test_the_next_try_waits_by_the_schedule_or_as_long_as_the_receiver_asked(
    hooks: WebhookStore, tries: int, asked: float | None, least: float, most: float
) -> None:
    waits = [hooks.retry_delay(tries, asked) for _ in range(50)]
    assert all(wait is not None and least <= wait <= most for wait in waits)
    assert len(set(waits)) == (1 if least == most else 50), "tries that were due together are spread"


def test_after_the_last_try_there_is_none(hooks: WebhookStore) -> None:
    assert hooks.retry_delay(3, None) is None
    assert hooks.retry_delay(4, 900.0) is None


async def test_a_lease_lasts_a_delivery_and_its_slack(store: Store, hooks: WebhookStore) -> None:
    await cancelled(store)
    assert hooks.lease_seconds == hooks.settings.webhook_timeout + SLACK == 30
    await hooks.take()
    ((_, until),) = await hooks.redis.zrange("hooks:due", 0, -1, withscores=True)
    assert 28 < until - time.time() <= 31


async def test_what_is_dispatched_is_a_message_with_id_and_token(store: Store, hooks: WebhookStore) -> None:
    first, second = await cancelled(store), await cancelled(store)
    assert await hooks.dispatch() == 2
    assert await hooks.dispatch() == 0
    messages = [json.loads(raw) for raw in await hooks.redis.lrange(QUEUE, 0, -1)]
    bodies = [json.loads(base64.b64decode(message["body"]))[0] for message in messages]
    assert sorted(bodies) == sorted([[f"msg_{job_id}_cancelled", 1] for job_id in (first, second)])
    for message, (webhook_id, token) in zip(messages, bodies, strict=True):
        assert (message["headers"]["task"], message["headers"]["id"]) == (TASK, f"{webhook_id}-{token}")
        assert message["properties"]["delivery_info"]["routing_key"] == QUEUE


async def test_one_owner_has_half_of_all_places_and_one_receiver_its_own_few(store: Store, valkey: Valkey) -> None:
    client = connect(valkey.url, patient=False)
    known = make_settings(valkey.url, webhook_in_flight=12, webhook_endpoint_in_flight=3)
    hooks = WebhookStore(client, known)
    for number in range(4):
        for _ in range(4):
            await cancelled(store, f"https://r{number}.test/")
    taken = await hooks.take()
    assert len(taken) == 6
    small = WebhookStore(client, known.model_copy(update={"webhook_in_flight": 4}))
    assert await small.take() == []
    await client.aclose()


async def test_bytes_are_kept_for_every_try(store: Store, hooks: WebhookStore) -> None:
    await cancelled(store)
    due = await began(hooks)
    assert due.body is None
    await hooks.keep_body(due.lease, "ä".encode())
    await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1))
    await hooks.redis.zadd("hooks:due", {due.lease.webhook_id: 1})
    again = await began(hooks)
    assert (again.body, again.tries) == ("ä".encode(), 2)


async def test_a_delivery_without_status_and_error_has_neither(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    assert await hooks.end(await began(hooks), Ended(WebhookOutcome.GONE, 1.0, 410)) == "gone"
    (delivery,) = await hooks.deliveries(job_id)
    assert (delivery.status_code, delivery.error) == (410, None)


@pytest.mark.parametrize("number", [-1, 0, 2, 99])
async def test_a_delivery_that_is_not_there_cannot_be_sent_again(
    store: Store, hooks: WebhookStore, number: int
) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), Ended(WebhookOutcome.DELIVERED, 0.1, 204))
    with pytest.raises(NotFound, match=r"^No such delivery$"):
        await hooks.send_again(job_id, number)
    await hooks.send_again(job_id, 1)


async def test_a_webhook_that_is_no_longer_kept_cannot_be_sent_again(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), Ended(WebhookOutcome.DELIVERED, 0.1, 204))
    await hooks.redis.delete(f"hook:msg_{job_id}_cancelled")
    with pytest.raises(NotFound, match=r"^The webhook is no longer kept$"):
        await hooks.send_again(job_id, 1)


async def test_a_webhook_is_sent_again_a_hundred_times_and_no_more(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), Ended(WebhookOutcome.DELIVERED, 0.1, 204))
    for _ in range(AGAIN_MOST):
        await hooks.send_again(job_id, 1)
    with pytest.raises(RateLimited, match=re.escape(f"A webhook may be sent again {AGAIN_MOST} times")) as refused:
        await hooks.send_again(job_id, 1)
    assert refused.value.retry_after == RETRY_AFTER_MOST


@pytest.mark.parametrize("call", ["dispatch", "take", "webhooks", "deliveries", "send_again"])
async def test_a_store_that_is_away_is_told_as_such(valkey: Valkey, call: str) -> None:
    client = connect("redis://127.0.0.1:1/0", patient=False)
    arguments = {"webhooks": ("x",), "deliveries": ("x",), "send_again": ("x", 1)}.get(call, ())
    with pytest.raises(StoreUnavailable):
        await getattr(WebhookStore(client, make_settings(valkey.url)), call)(*arguments)
    await client.aclose()


async def test_a_failed_try_is_due_again_at_its_moment_and_not_with_its_lease(
    store: Store, hooks: WebhookStore
) -> None:
    job_id = await cancelled(store)
    due = await began(hooks)
    await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500, retry_after=5000.0))
    (state,) = await hooks.webhooks(job_id)
    score = await hooks.redis.zscore("hooks:due", due.lease.webhook_id)
    assert state.next_at is not None
    assert abs(score - state.next_at) < 0.01
    assert 4990 < score - time.time() <= 5001


async def test_a_receiver_that_keeps_failing_is_left_alone_twice_as_long_each_time(
    store: Store, hooks: WebhookStore
) -> None:
    circuit, waits = "hooks:break:anonymous https://example.org", list[int]()
    for number in range(1, 12):
        await hooks.redis.hdel(circuit, "till")
        await cancelled(store)
        for webhook in await hooks.redis.zrange("hooks:due", 1, -1):
            await hooks.redis.zadd("hooks:due", {webhook: 10**12})
        due = await began(hooks)
        await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500, retry_after=10_000.0))
        till = await hooks.redis.hget(circuit, "till")
        waits.append(round(float(till) - time.time()) if till else 0)
        assert int(await hooks.redis.hget(circuit, "fails")) == number
    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 600, 600]
    assert 86_390 < await hooks.redis.ttl(circuit) <= 86_400


async def test_one_success_closes_the_circuit(store: Store, hooks: WebhookStore) -> None:
    await cancelled(store)
    due = await began(hooks)
    await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500))
    await hooks.redis.zadd("hooks:due", {due.lease.webhook_id: 1})
    await hooks.end(await began(hooks), Ended(WebhookOutcome.DELIVERED, 0.1, 204))
    assert await hooks.redis.keys("hooks:break:*") == []


async def test_a_failed_try_is_counted_measured_and_what_is_kept_outlives_the_wait_for_the_next(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    keep = 2 * store.settings.result_ttl + store.settings.webhook_ttl
    due = await began(hooks)
    assert await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.12, 503, retry_after=5000.0)) == "pending"
    assert valkey.client.hget("counters", "hooks:failed") == b"1"
    assert valkey.client.hget("histograms", "webhook|5") == b"1"  # above 0.1 and up to 0.25 seconds
    assert valkey.client.hget("histograms", "webhook|sum") == b"120000"
    for key in (f"hook:msg_{job_id}_cancelled", f"hooks:{job_id}", f"dlv:{job_id}"):
        assert keep + 4900 < valkey.client.ttl(key) <= keep + 5000 * (1 + JITTER) + 1


@pytest.mark.parametrize("given", [{}, {"request_id": "r-1", "traceparent": "00-ab-cd-01"}])
async def test_a_webhook_names_the_request_that_made_its_job(
    store: Store, hooks: WebhookStore, valkey: Valkey, given: dict[str, str]
) -> None:
    job_id = await submit(store, b"x", "image/png", webhook=WebhookTarget(url=URL, events=("job.cancelled",)))
    if given:
        valkey.client.hset(f"job:{job_id}", mapping=given)  # type: ignore[arg-type]
    else:
        valkey.client.hdel(f"job:{job_id}", "request_id", "traceparent")  # a job of the version before
    await store.cancel(job_id)
    (name,) = valkey.client.keys("hook:*")
    assert valkey.client.hmget(name, "request_id", "traceparent") == [
        given.get("request_id", "").encode(), given.get("traceparent", "").encode(),
    ]  # fmt: skip
