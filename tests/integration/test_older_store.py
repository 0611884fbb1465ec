"""A store that the version before wrote: read, worked on to the end, and what both versions meet in."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.auth.api_keys import ApiKeys
from gateway.auth.url_tokens import Tokens
from shared.contract.events import JobDone, PageRestarted, PageText
from shared.contract.states import TERMINAL_STATUSES, JobStatus, WebhookStatus
from shared.errors import NotFound
from shared.store import former_names, keyspace
from shared.store.jobs import Store
from shared.store.webhooks import WebhookStore
from tests.fixtures.older_store import OlderStore, bring_to_life
from tests.integration.test_store import new_job
from tests.settings import Settings
from tools.uploads import picture
from tools.valkey import Valkey
from worker.claims import Claims
from worker.engines.instant import answer

UNFINISHED = {
    "processing": [10, 11, 12], "released": [13, 14], "claimed": [15], "high": [20], "normal": [21, 22],
    "low": [23, 24, 25], "behind": [26],
}  # fmt: skip


@pytest.fixture
def older(valkey: Valkey) -> OlderStore:
    return bring_to_life(valkey.client, "d20d61e")


async def test_every_job_reads_as_the_version_before_said(store: Store, older: OlderStore) -> None:
    for name, told in older.jobs.items():
        job = await store.job(older.id(name))
        queue = None if job.queue is None else [job.queue.position, job.queue.pages_ahead]
        assert (job.status, job.progress.model_dump(), queue) == (told["status"], told["progress"], told["queue"]), name
    assert (await store.job(older.id("failed"))).error is not None
    assert (await store.job(older.id("normal"), "me")).webhook is not None
    assert [worker.name for worker in await store.workers()] == ["older-worker"]


async def test_results_events_batches_and_keys_are_there(store: Store, older: OlderStore, settings: Settings) -> None:
    job_id = older.id("succeeded")
    assert [page.markdown for page in await store.pages(job_id)] == [answer(picture(seed)) for seed in (1, 2)]
    assert (await store.page_image(job_id, 1), await store.figure(job_id, "2_0.jpg")) == (b"picture", b"figure")
    events = [stored.event for stored in await store.events(job_id)]
    assert PageText(page=1, text="some text") in events
    assert events[-1] == JobDone(status=JobStatus.SUCCEEDED, error=None)
    batch = await store.batches.find(older.batch, "me")
    assert (batch.job_ids, batch.rejected[0].filename) == ((older.id("normal"),), "x.png")
    key = await ApiKeys(store.redis, settings).verify(older.api_key)
    assert key is not None
    assert (key.name, key.rate) == ("alice", 600)
    again = await store.submit(new_job(1, owner="me", idempotency_key="k"), b"x", "print")
    assert (again.job_id, again.replayed) == (older.id("normal"), True)


async def test_its_webhooks_are_sent_on(store: Store, older: OlderStore, settings: Settings) -> None:
    webhooks = WebhookStore(store.redis, settings)
    states = {state.event: state.status for state in await webhooks.webhooks(older.id("succeeded"))}
    assert sorted(states.values()) == sorted([WebhookStatus.PENDING, WebhookStatus.DELIVERED])
    (lease, *_) = await webhooks.take()
    due = await webhooks.begin(lease)
    assert due is not None
    assert due.job().id in (older.id("succeeded"), older.id("cancelled"))


async def test_tokens_of_urls_are_good_at_gateways_of_both_versions(
    store: Store, older: OlderStore, valkey: Valkey
) -> None:
    job_id, expires = older.id("succeeded"), int(time.time()) + 60
    valkey.client.set(former_names.URL_TOKEN_SECRET, "of-the-version-before")
    signature = hmac.new(b"of-the-version-before", f"{job_id}\nme\n{expires}".encode(), "sha256").hexdigest()
    assert await Tokens(store.redis).owner(f"{expires}.me.{signature}", job_id) == "me"
    assert await Tokens(store.redis).make(job_id, "me", expires) == f"{expires}.me.{signature}"


async def test_a_token_made_here_first_is_good_at_a_gateway_of_the_version_before(store: Store, valkey: Valkey) -> None:
    token = await Tokens(store.redis).make("job", "me", 2_000_000_000)
    secret = valkey.client.get(former_names.URL_TOKEN_SECRET)
    assert isinstance(secret, bytes)
    assert token.rpartition(".")[2] == hmac.new(secret, b"job\nme\n2000000000", "sha256").hexdigest()


async def test_a_worker_of_the_version_before_goes_on_where_its_claim_still_holds(
    claims: Claims, store: Store, older: OlderStore, valkey: Valkey
) -> None:
    """Its job is not reaped, not claimed by another, and its token is as good as before."""
    assert await claims.claim(older.id("processing"), "another") is None
    assert await claims.reap() == 0
    token = valkey.client.hget(keyspace.JOB(older.id("processing")), "token")
    assert token == b"token-of-processing"


async def test_pages_ahead_go_on_from_the_former_spelling(store: Store, older: OlderStore, valkey: Valkey) -> None:
    """Both spellings are written, so that either version may be asked; the older is read where it is alone."""
    before = await store.job(older.id("behind"))
    submitted = await store.submit(new_job(2), b"x")
    job = await store.job(submitted.job_id)
    assert before.queue is not None
    assert job.queue is not None
    assert job.queue.pages_ahead == before.queue.pages_ahead + 1
    spelled = valkey.client.hmget(keyspace.JOB(job.id), "before", "pages_submitted_before")
    assert spelled[0] == spelled[1] is not None
    assert valkey.client.hget(keyspace.JOB(before.id), "pages_submitted_before") is None


async def test_a_worker_of_this_version_ends_every_job(
    store: Store, older: OlderStore, valkey: Valkey, start_worker: Callable[..., Any]
) -> None:
    """The leases of the older worker run out; pages that had ended are not read again, and what it streamed is void."""
    for name in ("processing", "claimed"):
        valkey.client.hset(keyspace.JOB(older.id(name)), "lease", 1)
        valkey.client.zadd(keyspace.NEXT_CHECK(), {older.id(name): 1})
    start_worker().wait_ready()
    async with asyncio.timeout(60):
        for name in UNFINISHED:
            while (await store.job(older.id(name))).status not in TERMINAL_STATUSES:
                await asyncio.sleep(0.05)
    for name, seeds in UNFINISHED.items():
        job = await store.job(older.id(name))
        assert (job.status, job.error) == (JobStatus.SUCCEEDED, None), name
        assert [page.markdown for page in await store.pages(job.id)] == [answer(picture(seed)) for seed in seeds], name
    events = [stored.event for stored in await store.events(older.id("processing"))]
    assert PageRestarted(page=2, reason="worker-lost") in events
    counters = await store.stats.counters()
    assert [counters[name] for name in ("jobs", "pages", "bytes", "running")] == [0, 0, 0, 0]
    for rank in keyspace.RANKS.values():
        submitted, finished = keyspace.Counter.submitted_pages(rank), keyspace.Counter.finished_pages(rank)
        assert counters[submitted] == counters[finished]
    await store.delete(older.id("succeeded"))
    with pytest.raises(NotFound):
        await store.job(older.id("succeeded"))
