"""Webhooks in the store: due, leased, fenced, tried again by the schedule, held back, sent again by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from shared.contract.job import WebhookTarget
from shared.errors import NotFound, RateLimited
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhooks import AGAIN_MOST, Due, Ended, Lease, WebhookOutcome, WebhookStore
from tests.conftest import make_settings
from tests.integration.waiting import left_of
from tools.uploads import submit
from tools.valkey import Valkey
from worker.claims import Claims

URL = "https://example.org/hook"
DAY = 24 * 3600
FAILED = Ended(WebhookOutcome.FAILED, 0.1, 500)
DELIVERED = Ended(WebhookOutcome.DELIVERED, 0.1, 204)


def make_hooks(valkey: Valkey, **settings: Any) -> WebhookStore:
    known = make_settings(valkey.url, **settings)
    return WebhookStore(connect(known.redis_url.get_secret_value(), patient=False), known)


@pytest.fixture
async def hooks(valkey: Valkey) -> AsyncIterator[WebhookStore]:
    made = make_hooks(valkey)
    yield made
    await made.redis.aclose()


async def cancelled(store: Store, url: str = URL, **more: Any) -> str:
    """A job that ended, with one webhook to be sent."""
    job_id = await submit(store, b"x", "image/png", webhook=WebhookTarget(url=url, events=("job.cancelled",)), **more)
    await store.cancel(job_id)
    return job_id


async def began(hooks: WebhookStore) -> Due:
    (lease,) = await hooks.take()
    due = await hooks.begin(lease)
    assert due is not None
    return due


def due_ids(valkey: Valkey) -> list[bytes]:
    return cast("list[bytes]", valkey.client.zrange("hooks:due", 0, -1))


def make_due(valkey: Valkey) -> None:
    """Move the clock, as far as webhooks go, to the next thing that is due."""
    for hid in due_ids(valkey):
        valkey.client.zadd("hooks:due", {hid: 1})


async def test_a_transition_is_due_at_once_with_the_job_as_it_was(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store, metadata={"ä": [1]})
    due = await began(hooks)
    assert (due.lease.webhook_id, due.url, due.event) == (f"msg_{job_id}_cancelled", URL, "job.cancelled")
    assert (due.tries, due.body, due.owner) == (1, None, "anonymous")
    assert (due.job().id, due.job().status, due.job().metadata) == (job_id, "cancelled", {"ä": [1]})


async def test_started_tells_of_the_job_as_it_was_when_it_started(
    store: Store, claims: Claims, hooks: WebhookStore
) -> None:
    webhook = WebhookTarget(url=URL, events=("job.started",))
    job_id = await submit(store, b"x", "image/png", webhook=webhook)
    claim = await claims.claim(job_id, "t")
    assert claim is not None
    await claims.start(claim, "instant")
    await store.cancel(job_id)
    assert (await began(hooks)).job().status == "processing"


async def test_a_leased_webhook_is_taken_once(store: Store, hooks: WebhookStore) -> None:
    await cancelled(store)
    assert len(await hooks.take()) == 1
    assert await hooks.take() == []


async def test_a_lease_that_ran_out_is_taken_again_and_fences_the_first(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    (first,) = await hooks.take()
    make_due(valkey)
    (second,) = await hooks.take()
    assert (second.webhook_id, second.token) == (first.webhook_id, first.token + 1)
    assert await hooks.begin(first) is None
    assert (await hooks.begin(second)).tries == 1  # type: ignore[union-attr]
    assert await hooks.deliveries(job_id) == []


async def test_a_sender_that_died_while_sending_leaves_a_delivery_and_the_same_bytes(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    due = await began(hooks)
    await hooks.keep_body(due.lease, b'{"same": "\xc3\xa4"}')
    make_due(valkey)
    again = await began(hooks)
    assert (again.tries, again.body) == (2, b'{"same": "\xc3\xa4"}')
    (lost,) = await hooks.deliveries(job_id)
    assert (lost.number, lost.error, lost.status_code) == (1, "sender-lost", None)
    assert await hooks.end(due, DELIVERED) == ""
    assert await hooks.end(again, DELIVERED) == "delivered"


async def test_senders_that_die_over_and_over_exhaust_the_webhook(store: Store, valkey: Valkey) -> None:
    hooks = make_hooks(valkey, webhook_schedule=(0, 0))
    job_id = await cancelled(store)
    for _ in range(2):
        await began(hooks)
        make_due(valkey)
    assert await hooks.take() == []
    assert [state.status for state in await hooks.webhooks(job_id)] == ["exhausted"]
    assert valkey.client.scard("hooks:leased") == 0
    await hooks.redis.aclose()


async def test_a_failure_is_tried_again_by_the_schedule_and_then_exhausted(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    waits = []
    for _ in range(6):
        due = await began(hooks)
        assert await hooks.end(due, FAILED) == "pending"
        (state,) = await hooks.webhooks(job_id)
        assert state.next_at is not None
        waits.append(state.next_at - float(valkey.client.time()[0]))
        valkey.client.delete(*valkey.client.keys("hooks:break:*"))
        make_due(valkey)
    for wait, planned in zip(waits, (5, 300, 1800, 7200, 18000, 36000), strict=True):
        assert planned - 2 <= wait <= planned * 1.2 + 2
    assert await hooks.end(await began(hooks), FAILED) == "exhausted"
    assert await hooks.take() == []
    assert [delivery.number for delivery in await hooks.deliveries(job_id)] == list(range(1, 8))


def test_retry_after_is_honoured_when_it_is_longer(valkey: Valkey) -> None:
    hooks = make_hooks(valkey)
    assert hooks.retry_delay(1, 120.0) == 120.0
    assert hooks.retry_delay(2, 120.0) >= 300.0  # type: ignore[operator]
    assert hooks.retry_delay(1, 1e9) == 24 * 3600
    assert hooks.retry_delay(7, 120.0) is None


@pytest.mark.parametrize("outcome", [WebhookOutcome.DELIVERED, WebhookOutcome.GONE])
async def test_delivered_and_410_end_it(
    store: Store, hooks: WebhookStore, valkey: Valkey, outcome: WebhookOutcome
) -> None:
    job_id = await cancelled(store)
    assert await hooks.end(await began(hooks), Ended(outcome, 0.25, 410)) == outcome
    make_due(valkey)
    assert await hooks.take() == []
    (delivery,) = await hooks.deliveries(job_id)
    assert (delivery.status_code, delivery.seconds, delivery.error) == (410, 0.25, None)
    assert valkey.client.hget("counters", f"hooks:{outcome}") == b"1"


async def test_an_endpoint_has_so_many_under_way_and_others_go_on(store: Store, hooks: WebhookStore) -> None:
    for _ in range(6):
        await cancelled(store, "https://slow.example/a")
    await cancelled(store, "https://quick.example/b")
    first = await hooks.take()
    assert len(first) == 5
    assert await hooks.take() == []
    due = await hooks.begin(first[0])
    assert due is not None
    await hooks.end(due, DELIVERED)
    assert len(await hooks.take()) == 1


async def test_everything_behind_a_gate_is_delivered_in_the_end(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    for _ in range(40):
        await cancelled(store, "https://Slow.example/a")
    delivered, width = 0, 0
    while leases := await hooks.take():
        width = max(width, len(leases))
        for lease in leases:
            due = await hooks.begin(lease)
            assert due is not None
            delivered += await hooks.end(due, DELIVERED) == "delivered"
    assert (delivered, width) == (40, 4)
    kept = (b"hooks:0", b"hooks:taken:")
    left = [key for key in cast("list[bytes]", valkey.client.keys("hooks:*")) if not key.startswith(kept)]
    assert left == []


async def test_one_owner_cannot_take_every_place(store: Store, valkey: Valkey) -> None:
    hooks = make_hooks(valkey, webhook_in_flight=8, webhook_endpoint_in_flight=2)
    for n in range(10):
        await cancelled(store, f"https://r{n}.example/", owner="greedy")
    for n in range(3):
        await cancelled(store, f"https://r{n}.example/", owner="modest")
    leased = await hooks.take()
    owners = [valkey.client.hget(f"hook:{lease.webhook_id}", "owner") for lease in leased]
    assert (owners.count(b"greedy"), owners.count(b"modest")) == (4, 3)
    await hooks.redis.aclose()


async def test_failures_in_a_row_open_the_breaker_and_one_probe_closes_it(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    for _ in range(8):
        await cancelled(store)
    for lease in [*await hooks.take(), *await hooks.take()]:
        due = await hooks.begin(lease)
        assert due is not None
        await hooks.end(due, FAILED)
    for lease in await hooks.take():
        due = await hooks.begin(lease)
        assert due is not None
        await hooks.end(due, FAILED)
    assert await hooks.take() == []  # open: those still to be tried wait for it
    open_until = float(valkey.client.hget("hooks:break:anonymous https://example.org", "till") or 0)
    assert open_until > float(valkey.client.time()[0])
    valkey.client.hset("hooks:break:anonymous https://example.org", "till", 1)
    make_due(valkey)
    probe = await began(hooks)
    assert await hooks.take() == []
    await hooks.end(probe, DELIVERED)
    assert len(await hooks.take()) == 2


async def test_leases_of_dead_senders_make_room_though_older_webhooks_wait(store: Store, valkey: Valkey) -> None:
    hooks = make_hooks(valkey, webhook_in_flight=4)
    await cancelled(store, "https://r0.example/")
    for n in range(1, 4):
        await cancelled(store, f"https://r{n}.example/", owner=f"o{n}")
    dead = await hooks.take()
    assert len(dead) == 4
    for n in range(4, 9):
        await cancelled(store, f"https://r{n}.example/", owner=f"o{n}")
    for hid in due_ids(valkey):
        valkey.client.zadd("hooks:due", {hid: 2 if valkey.client.sismember("hooks:leased", hid.decode()) else 1})
    again = await hooks.take(most=2)
    assert {lease.webhook_id for lease in again} == {lease.webhook_id for lease in dead}
    await hooks.redis.aclose()


async def test_an_endpoint_of_another_owner_is_another_endpoint(store: Store, hooks: WebhookStore) -> None:
    for owner in ("a", "b"):
        for _ in range(4):
            await cancelled(store, owner=owner)
    assert len(await hooks.take()) == 8


async def test_a_delivery_can_be_sent_again_with_a_new_schedule(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), DELIVERED)
    await hooks.send_again(job_id, 1)
    due = await began(hooks)
    assert due.tries == 1
    await hooks.send_again(job_id, 1)  # being sent: nothing to do
    assert await hooks.end(due, FAILED) == "pending"
    assert len(await hooks.deliveries(job_id)) == 2


async def test_sending_again_what_waits_for_its_next_try_moves_it_to_now(store: Store, hooks: WebhookStore) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), FAILED)
    assert await hooks.take() == []
    await hooks.send_again(job_id, 1)
    assert (await began(hooks)).tries == 2


async def test_sending_again_has_an_end_and_needs_a_delivery(store: Store, hooks: WebhookStore, valkey: Valkey) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), DELIVERED)
    for number in (0, 2, -1):
        with pytest.raises(NotFound):
            await hooks.send_again(job_id, number)
    valkey.client.hset(f"hook:msg_{job_id}_cancelled", "again", AGAIN_MOST)
    with pytest.raises(RateLimited):
        await hooks.send_again(job_id, 1)


async def test_a_deleted_jobs_webhook_is_still_sent_and_then_nothing_of_it_is_left(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    await store.delete(job_id)
    await hooks.end(await began(hooks), DELIVERED)
    assert left_of(valkey, job_id) == []


async def test_every_key_of_a_webhook_expires_with_the_jobs_record(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    job_id = await cancelled(store)
    await hooks.end(await began(hooks), FAILED)
    for key in (f"hook:msg_{job_id}_cancelled", f"hooks:{job_id}", f"dlv:{job_id}"):
        assert valkey.client.ttl(key) >= valkey.client.ttl(f"job:{job_id}") > 0


@pytest.mark.parametrize("before", [False, True])  # a record of the version before has no `webhook_ttl`
async def test_a_webhook_is_kept_for_its_time_after_the_record(
    store: Store, hooks: WebhookStore, valkey: Valkey, before: bool
) -> None:
    store.settings = make_settings(valkey.url, result_ttl=100, webhook_ttl=7)
    target = WebhookTarget(url=URL, events=("job.cancelled",))
    job_id = await submit(store, b"x", "image/png", webhook=target)
    if before:
        valkey.client.hdel(f"job:{job_id}", "webhook_ttl")
    await store.cancel(job_id)
    await hooks.end(await began(hooks), DELIVERED)
    kept = 200 + (DAY if before else 7)
    assert kept - 5 < valkey.client.ttl(f"hook:msg_{job_id}_cancelled") <= kept


async def test_a_webhook_that_has_not_ended_outlives_what_it_waits_for(
    store: Store, hooks: WebhookStore, valkey: Valkey
) -> None:
    store.settings = make_settings(valkey.url, result_ttl=1, webhook_ttl=1)
    breaker = {"webhook_breaker_failures": 1, "webhook_breaker_seconds": 500}
    hooks.settings = make_settings(valkey.url, webhook_endpoint_in_flight=1, webhook_schedule=(0, 1000), **breaker)
    ids = [await cancelled(store) for _ in range(2)]

    def lives(job_id: str) -> int:
        return valkey.client.ttl(f"hook:msg_{job_id}_cancelled")

    assert all(DAY - 5 < lives(job_id) <= DAY for job_id in ids)
    for job_id in ids:
        valkey.client.expire(f"hook:msg_{job_id}_cancelled", 60)
    due = await began(hooks)
    waiting = next(job_id for job_id in ids if job_id not in due.lease.webhook_id)
    assert DAY < lives(due.job().id) <= DAY + hooks.settings.webhook_timeout + 600
    assert DAY - 5 < lives(waiting) <= DAY  # behind the full gate
    await hooks.end(due, FAILED)
    assert DAY + 990 < lives(due.job().id) < DAY + 2000
    valkey.client.expire(f"hook:msg_{waiting}_cancelled", 60)
    assert await hooks.take() == []  # the breaker is open
    assert DAY + 400 < lives(waiting) <= DAY + 500


async def test_a_webhook_that_expired_is_dropped(store: Store, hooks: WebhookStore, valkey: Valkey) -> None:
    job_id = await cancelled(store)
    valkey.client.delete(f"hook:msg_{job_id}_cancelled")
    assert await hooks.take() == []
    assert valkey.client.zcard("hooks:due") == 0


async def test_begin_of_an_unknown_webhook_is_no_error(hooks: WebhookStore) -> None:
    assert await hooks.begin(Lease("msg_x", 1)) is None
