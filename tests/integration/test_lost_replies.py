"""A call whose reply was lost is sent again, or a copy comes late: what each script answers, and leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.contract.events import JobDone, PageStarted, PageText, StatusChanged
from shared.contract.job import WebhookTarget
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.scripts import Scripts
from shared.store.webhooks import Ended, WebhookOutcome, WebhookStore
from tests.conftest import make_settings
from tests.integration.test_scripts_twice import snapshot
from tests.integration.test_store import claimed, new_job, page, submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims

Call = tuple[str, tuple[Any, ...]]
WEBHOOK = WebhookTarget(url="https://example.org/hook", events=("job.cancelled",))


class Wire:
    """What goes to the store, and can be sent again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Call] = []
        run = Scripts.run
        self.run = run

        async def recorded(scripts: Scripts, name: str, *args: Any) -> Any:
            self.sent.append((name, args))
            return await run(scripts, name, *args)

        monkeypatch.setattr(Scripts, "run", recorded)

    def last(self, name: str) -> Call:
        return next(call for call in reversed(self.sent) if call[0] == name)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


@pytest.fixture
def again(wire: Wire, store: Store, valkey: Valkey) -> Callable[..., Awaitable[Any]]:
    """Send the last call of a script again; it must leave the store as it is. What it answers."""

    async def send(name: str, call: Call | None = None) -> Any:
        before = snapshot(valkey.client)
        reply = await wire.run(store.scripts, name, *(call or wire.last(name))[1])
        assert snapshot(valkey.client) == before, name
        return reply

    return send


@pytest.fixture
async def webhooks(valkey: Valkey) -> AsyncIterator[WebhookStore]:
    settings = make_settings(valkey.url)
    made = WebhookStore(connect(settings.redis_url.get_secret_value(), patient=False), settings)
    yield made
    await made.redis.aclose()


Again = Callable[..., Awaitable[Any]]


async def events(store: Store, job_id: str) -> list[Any]:
    return [stored.event for stored in await store.events(job_id)]


async def test_a_submission_is_one_job_also_when_it_has_been_read(store: Store, claims: Claims, again: Again) -> None:
    claim = await claimed(store, claims)
    assert await again("submit") == [b"ok", claim.job.id.encode()]
    await claims.start(claim, "x")
    await claims.page_end(claim, page(1))
    await claims.finish(claim)
    assert await again("submit") == [b"ok", claim.job.id.encode()]
    assert (await store.job(claim.job.id)).status == "succeeded"


async def test_a_submission_does_not_bring_a_deleted_job_back(store: Store, again: Again) -> None:
    job_id = await submit(store)
    await store.delete(job_id)
    assert await again("submit") == [b"ok", job_id.encode()]
    with pytest.raises(NotFound):
        await store.job(job_id)


async def test_a_job_that_is_made_of_an_earlier_result_is_made_once(store: Store, claims: Claims, again: Again) -> None:
    engine = EngineStatus(name="x")
    await claims.report(WorkerStatus(name="worker-1", reader="r", engine=engine))
    new = new_job(content="c")
    claim = await claims.claim((await store.submit(new, b"pdf")).job_id, "t1")
    assert claim is not None
    await claims.start(claim, "x", "r")
    await claims.page_end(claim, page(1))
    await claims.finish(claim)
    second = await store.submit(new, b"pdf", cache=True)
    assert second.cached
    assert await again("reuse") == [b"ok", second.job_id.encode()]
    await store.delete(second.job_id)
    assert await again("reuse") == [b"ok", second.job_id.encode()]
    with pytest.raises(NotFound):
        await store.job(second.job_id)


async def test_a_submission_with_a_key_or_a_quota_counts_once(store: Store, again: Again, valkey: Valkey) -> None:
    job_id = await submit(store, 3, idempotency_key="k", owner="me", page_quota=4)
    assert await again("submit") == [b"ok", job_id.encode()]
    (used,) = valkey.client.keys("quota:me:*")
    assert valkey.client.get(used) == b"3"


async def test_a_claim_is_answered_again_and_not_taken_again_once_given_up(
    store: Store, claims: Claims, again: Again
) -> None:
    claim = await claimed(store, claims, 2)
    reply = await again("claim")
    assert reply[0] == b"ok"
    await claims.start(claim, "x")
    await claims.release(claim)
    assert (await again("claim"))[0] == b"ok"
    assert await claims.claim(claim.job.id, "t2") is not None
    await again("claim", ("claim", (claim.job.id, claim.token, "worker-1", 15)))


async def test_a_job_is_started_once_by_each_claim(store: Store, claims: Claims, again: Again) -> None:
    claim = await claimed(store, claims)
    assert await claims.start(claim, "x") == await again("start") == 1
    await claims.release(claim)
    assert await again("start") == 1
    second = await claims.claim(claim.job.id, "t2")
    assert second is not None
    assert await claims.start(second, "x") == 2
    assert sum(isinstance(event, StatusChanged) for event in await events(store, claim.job.id)) == 4


async def test_text_is_in_the_stream_once(store: Store, claims: Claims, again: Again, wire: Wire) -> None:
    claim = await claimed(store, claims)
    pieces = [PageText(page=1, text=text) for text in ("one", "two")]
    for piece in pieces:
        assert await claims.stream(claim, [piece])
        assert await again("stream") == 1
    assert await again("stream", next(call for call in wire.sent if call[0] == "stream")) == 1
    assert (await events(store, claim.job.id))[1:] == pieces
    await claims.release(claim)
    assert await again("stream") == 1
    second = await claims.claim(claim.job.id, "t2")
    assert second is not None
    assert await claims.stream(second, [pieces[0]])
    assert len(await events(store, claim.job.id)) == 4


async def test_a_page_begins_once_whatever_has_become_of_it(store: Store, claims: Claims, again: Again) -> None:
    claim = await claimed(store, claims, 2)
    assert await claims.page_start(claim, 1) == await again("page_start") == 1
    await claims.page_stop(claim, 1, forgive=False)
    assert await again("page_start") == 1
    assert await claims.page_start(claim, 1) == 2
    assert await again("page_stop") == 1
    await claims.page_end(claim, page(1))
    assert await again("page_start") == 2
    assert await again("page_end") == 1
    assert sum(isinstance(event, PageStarted) for event in await events(store, claim.job.id)) == 2
    await claims.page_start(claim, 2)
    await claims.release(claim)
    second = await claims.claim(claim.job.id, "t2")
    assert second is not None
    assert await claims.page_start(second, 2) == 1, "a new claim counts its steps anew"


async def test_a_page_that_could_not_be_rendered_is_not_begun_late(store: Store, claims: Claims, again: Again) -> None:
    claim = await claimed(store, claims, 2)
    await claims.page_start(claim, 1)
    await claims.page_end(claim, page(1))
    assert await again("page_start") == 1
    assert await claims.page_end(claim, page(2))
    assert await again("page_end") == 1


async def end(claims: Claims, claim: Claim, how: str) -> Any:
    if how == "finish":
        return await claims.finish(claim)
    if how == "fail":
        return await claims.fail(claim, "internal", "why")
    return await claims.release(claim)


@pytest.mark.parametrize(("how", "reply"), [("finish", b"succeeded"), ("fail", 1), ("release", 1)])
async def test_who_gives_a_job_up_is_told_so_again(
    store: Store, claims: Claims, again: Again, how: str, reply: Any
) -> None:
    claim = await claimed(store, claims)
    await claims.start(claim, "x")
    await claims.page_start(claim, 1)
    await claims.page_end(claim, page(1))
    await end(claims, claim, how)
    assert await again(how) == reply
    assert await again("page_end") == 1
    assert sum(isinstance(event, JobDone) for event in await events(store, claim.job.id)) == (how != "release")


async def test_what_another_ended_is_not_taken_for_ones_own(store: Store, claims: Claims, again: Again) -> None:
    claim = await claimed(store, claims)
    await store.cancel(claim.job.id)
    assert await claims.finish(claim) == ""
    assert not await claims.page_end(claim, page(1))
    assert not await claims.stream(claim, [PageText(page=1, text="x")])


async def test_the_call_that_cancelled_is_told_so_again_and_no_other(store: Store, wire: Wire, again: Again) -> None:
    job_id = await submit(store)
    await store.cancel(job_id)
    assert await again("cancel") == b"cancelled"
    assert await again("cancel", ("cancel", (job_id, "another"))) == b"over"


async def test_a_delete_is_one_however_often(store: Store, again: Again) -> None:
    await store.delete(await submit(store))
    assert await again("delete") == 1


async def test_a_lost_job_is_put_back_once(store: Store, claims: Claims, again: Again, valkey: Valkey) -> None:
    claims.settings = make_settings(valkey.url, lease=1e-6, requeue_after=1e-6)
    claim = await claimed(store, claims)
    await claims.start(claim, "x")
    assert await claims.reap() == 1
    assert await again("reap") == b"requeued"
    assert (await store.stats.counters())["leases_lost"] == 1


async def test_a_request_is_charged_once(store: Store, wire: Wire, again: Again) -> None:
    first = await store.scripts.run("rate", "me", 60, 3, "", "r1")
    assert (await again("rate"))[:2] == first[:2] == [1, 2]
    assert (await store.scripts.run("rate", "me", 60, 3, "", "r2"))[:2] == [1, 1]
    assert (await again("rate", ("rate", ("me", 60, 3, "", "r1"))))[0] == 1


async def test_a_sender_gets_its_leases_again_and_a_try_counts_once(
    store: Store, webhooks: WebhookStore, again: Again
) -> None:
    await store.cancel(await submit(store, webhook=WEBHOOK))
    (lease,) = await webhooks.take()
    assert await again("webhook_take") == [lease.webhook_id.encode(), lease.token]
    due = await webhooks.begin(lease)
    assert due is not None
    assert await again("webhook_begin") != []
    assert await webhooks.begin(lease) is None, "another's call, though it shows the same lease"
    await webhooks.keep_body(lease, b"body")
    assert await again("webhook_body") == 1
    assert await webhooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500)) == "pending"
    assert await again("webhook_end") == b"pending"


async def test_a_webhook_is_sent_again_once_for_each_time_it_is_asked_for(
    store: Store, webhooks: WebhookStore, again: Again
) -> None:
    job_id = await submit(store, webhook=WEBHOOK)
    await store.cancel(job_id)
    (lease,) = await webhooks.take()
    due = await webhooks.begin(lease)
    assert due is not None
    await webhooks.end(due, Ended(WebhookOutcome.DELIVERED, 0.1, 204))
    assert await again("webhook_end") == b"delivered"
    await webhooks.send_again(job_id, 1)
    assert await again("webhook_again") == b"ok"
    (second,) = await webhooks.take()
    assert await again("webhook_body", ("webhook_body", (lease.webhook_id, lease.token, b"late"))) == 0
    assert second.token == lease.token + 1


async def test_a_secret_is_replaced_once(store: Store, again: Again, wire: Wire) -> None:
    for secret in ("one", "two", "three"):
        await store.scripts.run("webhook_secret", "me", secret, "rotate", 86400)
        assert (await again("webhook_secret"))[0] == secret.encode()
    late = ("webhook_secret", ("me", "two", "rotate", 86400))
    assert await again("webhook_secret", late) == [b"three", b"two", (await again("webhook_secret"))[2]]


async def test_a_late_first_page_step_of_a_released_claim_is_refused(
    store: Store, claims: Claims, again: Again, valkey: Valkey
) -> None:
    claim = await claimed(store, claims)
    await claims.page_start(claim, 1)
    await claims.release(claim)
    assert await again("page_start") == 0
    assert not valkey.client.exists(keyspace.PAGES_IN_FLIGHT(claim.job.id))
