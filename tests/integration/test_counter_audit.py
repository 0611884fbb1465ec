"""The audit of the counters: what is wrong is mended and counted, what is right is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contract.options import Options
from shared.store import keyspace
from shared.store.jobs import Store
from shared.store.keyspace import Counter
from tests.integration.test_store import claimed, page, submit
from tools.valkey import Valkey
from worker.claims import Claims
from worker.counter_audit import CounterAudit


@pytest.fixture
def audit(store: Store) -> CounterAudit:
    return CounterAudit(store.redis, "worker-1")


async def busy(store: Store, claims: Claims) -> list[str]:
    """A store with jobs in every state; the ids of those that wait, in their order."""
    claim = await claimed(store, claims, 3)
    await claims.start(claim, "x")
    await claims.page_start(claim, 1)
    await claims.page_end(claim, page(1))
    await store.cancel(await submit(store, 2))
    low = await submit(store, 4, options=Options(priority="low"))
    return [await submit(store, 2), await submit(store, 1), low]


async def test_an_audit_of_what_is_right_changes_nothing(store: Store, claims: Claims, audit: CounterAudit) -> None:
    await busy(store, claims)
    before = await store.stats.counters()
    assert await audit.run() == {}
    assert await store.stats.counters() == before | {Counter.AUDITS: 1}


@pytest.mark.parametrize("counter", [Counter.JOBS, Counter.PAGES, Counter.BYTES, Counter.RUNNING, "fin:3"])
@pytest.mark.parametrize("by", [7, -2])
async def test_a_counter_that_is_wrong_is_mended_and_the_drift_counted(
    store: Store, claims: Claims, audit: CounterAudit, valkey: Valkey, counter: str, by: int
) -> None:
    await busy(store, claims)
    right = await store.stats.counters()
    valkey.client.hincrby(keyspace.COUNTERS(), counter, by)
    assert await audit.run() == {counter: -by}
    assert await store.stats.counters() == right | {Counter.AUDITS: 1, Counter.drift(counter): abs(by)}


async def test_jobs_that_are_listed_wrongly_are_put_where_they_belong(
    store: Store, claims: Claims, audit: CounterAudit, valkey: Valkey
) -> None:
    first, second, _ = await busy(store, claims)
    running = valkey.client.zrange(keyspace.NEXT_CHECK(), 0, 0)[0]
    valkey.client.zrem(keyspace.WAITING("3"), first)
    valkey.client.zadd(keyspace.WAITING("3"), {"01JD0000000000000000000000": 1})
    valkey.client.zrem(keyspace.NEXT_CHECK(), second)
    assert await audit.run() == {}
    assert valkey.client.zrange(keyspace.WAITING("3"), 0, -1) == [first.encode(), second.encode()]
    assert {second.encode(), running} <= set(valkey.client.zrange(keyspace.NEXT_CHECK(), 0, -1))
    assert (await store.stats.counters())[Counter.drift(Counter.WAITING)] == 3


async def test_a_job_whose_record_is_gone_is_counted_no_more(
    store: Store, claims: Claims, audit: CounterAudit, valkey: Valkey
) -> None:
    first, second, _ = await busy(store, claims)
    valkey.client.delete(keyspace.JOB(first))
    assert await audit.run() == {Counter.JOBS: -1, Counter.PAGES: -2, Counter.BYTES: -3, "fin:3": 2}
    queue = (await store.job(second)).queue
    assert queue is not None
    assert (queue.position, queue.pages_ahead) == (1, 2)


async def test_pages_ahead_are_right_again_after_jobs_before_were_cancelled(
    store: Store, claims: Claims, audit: CounterAudit
) -> None:
    jobs = [await submit(store, 10) for _ in range(4)]
    await store.cancel(jobs[3])
    await audit.run()
    ahead = [queue.pages_ahead for job_id in jobs[:3] if (queue := (await store.job(job_id)).queue) is not None]
    assert ahead == [0, 10, 20]


async def test_nothing_is_mended_while_something_moves(
    store: Store, claims: Claims, audit: CounterAudit, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(store, claims)
    valkey.client.hincrby(keyspace.COUNTERS(), Counter.PAGES, 5)
    run = audit._scripts.run

    async def meanwhile(name: str, *args: Any) -> Any:
        await submit(store)
        return await run(name, *args)

    monkeypatch.setattr(audit._scripts, "run", meanwhile)
    assert await audit.run() is None
    assert Counter.drift(Counter.PAGES) not in await store.stats.counters()


async def test_one_worker_audits_at_a_time(store: Store, claims: Claims, audit: CounterAudit, valkey: Valkey) -> None:
    await busy(store, claims)
    assert await audit.run() == {}
    assert await CounterAudit(store.redis, "worker-2").run() is None
    assert 0 < valkey.client.ttl(keyspace.AUDIT()) <= 60


async def test_a_call_that_comes_twice_mends_once(store: Store, claims: Claims, audit: CounterAudit) -> None:
    """As when the reply of the first was lost."""
    await busy(store, claims)
    await store.redis.hincrby(keyspace.COUNTERS(), Counter.PAGES, 5)
    run, calls = audit._scripts.run, []

    async def twice(name: str, *args: Any) -> Any:
        replies = [await run(name, *args), await run(name, *args)]
        calls.append((name, replies[1]))
        return replies[0]

    audit._scripts.run = twice  # type: ignore[method-assign]
    assert await audit.run() == {Counter.PAGES: -5}
    assert ("audit", [b"mended"]) in calls
    assert (await store.stats.counters())[Counter.AUDITS] == 1


async def test_a_long_queue_is_read_in_small_steps(
    store: Store, audit: CounterAudit, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.counter_audit.JOBS_AT_ONCE", 10)
    for _ in range(35):
        await submit(store)
    valkey.client.hincrby(keyspace.COUNTERS(), Counter.BYTES, 1)
    assert await audit.run() == {Counter.BYTES: -1}
