"""Every transition of a job, alone, against a real server: atomic, fenced, idempotent, by Redis's clock."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from shared.contract.document import Figure, PageResult, PageStatus, Usage
from shared.contract.events import JobDone, PageText
from shared.contract.job import Input, NewJob, WebhookTarget
from shared.contract.options import Options
from shared.contract.record import StoredRejection
from shared.contract.states import JobStatus
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.errors import AlreadyFinished, IdempotencyMismatch, NotFound, QueueFull, StoreFull, StoreUnavailable
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.waiting import left_of
from tools.valkey import Valkey
from worker.claims import Claim, Claims


def new_job(pages: int = 1, **more: Any) -> NewJob:
    upload = Input(
        filename="a.pdf", media_type="application/pdf", bytes=3, sha256="0" * 64, pages=pages, page_range=f"1-{pages}"
    )
    return replace(NewJob(input=upload, pages=pages, options=Options()), **more)


async def submit(store: Store, pages: int = 1, **more: Any) -> str:
    return (await store.submit(new_job(pages, **more), b"pdf", "print")).job_id


async def claimed(store: Store, claims: Claims, pages: int = 1, **more: Any) -> Claim:
    claim = await claims.claim(await submit(store, pages, **more), "t1")
    assert claim is not None
    return claim


FIGURES = (Figure(name="1_0.jpg", bbox=(0, 0, 5, 5)),)


def page(number: int, status: PageStatus = PageStatus.OK, **more: Any) -> PageResult:
    return PageResult(number=number, status=status, markdown=f"page {number}", **more)


async def names(store: Store, job_id: str) -> list[str]:
    return [event.name for event in await store.events(job_id)]


async def test_submit_stores_record_upload_event_and_celery_message_together(store: Store, valkey: Valkey) -> None:
    job_id = await submit(store, 3, metadata={"a": 1})
    job = await store.job(job_id)
    assert (job.status, job.progress.pages_total, job.metadata) == ("queued", 3, {"a": 1})
    assert job.queue is not None
    assert (job.queue.position, job.queue.pages_ahead) == (1, 0)
    assert valkey.client.get(f"in:{job_id}") == b"pdf"
    (message,) = valkey.client.lrange("ocr\x06\x163", 0, -1)
    assert json.loads(base64.b64decode(json.loads(message)["body"]))[0] == [job_id]
    assert await names(store, job_id) == ["status"]
    assert await store.stats.counters() == {
        "jobs": 1,
        "pages": 3,
        "bytes": 3,
        "submitted": 1,
        "submitted:3": 1,
        "sub:3": 3,
    }


async def test_a_submission_answers_with_the_job_as_it_was_taken_in(store: Store) -> None:
    await submit(store, 3)
    submitted = await store.submit(new_job(2, idempotency_key="k"), b"pdf", "print")
    job, looked_up = submitted.job, await store.job(submitted.job_id)
    assert job is not None and job.queue is not None and job.queue.position == 2
    assert job.model_copy(update={"seen_at": looked_up.seen_at}) == looked_up
    assert (await store.submit(new_job(2, idempotency_key="k"), b"pdf", "print")).job is None


async def test_same_idempotency_key_gives_the_first_job_again(store: Store, valkey: Valkey) -> None:
    first = await store.submit(new_job(idempotency_key="k"), b"pdf", "print")
    again = await store.submit(new_job(idempotency_key="k"), b"pdf", "print")
    assert (again.job_id, again.replayed, first.replayed) == (first.job_id, True, False)
    assert valkey.client.llen("ocr\x06\x163") == 1
    with pytest.raises(IdempotencyMismatch):
        await store.submit(new_job(idempotency_key="k"), b"pdf", "other")


async def test_keys_of_two_owners_do_not_meet(store: Store) -> None:
    first = await store.submit(new_job(idempotency_key="k", owner="a"), b"pdf", "print")
    second = await store.submit(new_job(idempotency_key="k", owner="b"), b"pdf", "print")
    assert first.job_id != second.job_id


@pytest.mark.parametrize(("limit", "value"), [("max_queue_jobs", 1), ("max_queue_pages", 2), ("max_queue_bytes", 5)])
async def test_beyond_a_limit_nothing_is_stored(store: Store, valkey: Valkey, limit: str, value: int) -> None:
    store.settings = make_settings(valkey.url, **{limit: value})
    await submit(store, 2)
    before = sorted(valkey.client.keys())
    with pytest.raises(QueueFull) as refused:
        await submit(store, 2)
    assert refused.value.retry_after
    assert sorted(valkey.client.keys()) == before


async def test_submit_is_refused_when_redis_is_short_of_memory(store: Store, valkey: Valkey) -> None:
    valkey.client.config_set("maxmemory", valkey.client.info("memory")["used_memory"] + 1024)
    try:
        with pytest.raises(StoreFull) as refused:
            await submit(store)
        assert refused.value.retry_after == 3600  # nothing is kept that would expire
    finally:
        valkey.client.config_set("maxmemory", 0)
    assert valkey.client.keys("job:*") == []


async def test_claim_is_exclusive_while_its_lease_lasts(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert await claims.claim(claim.job.id, "t2") is None
    assert (await store.job(claim.job.id)).status == "queued"


async def test_claim_of_an_unknown_job_is_no_error(claims: Claims) -> None:
    assert await claims.claim("01JD0000000000000000000000", "t") is None


async def test_start_counts_attempts_and_moves_to_processing(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert await claims.start(claim, "instant") == 1
    job = await store.job(claim.job.id)
    assert (job.status, job.attempt, job.engine) == ("processing", 1, "instant")
    assert job.queue is not None
    assert job.queue.position == 0


async def test_every_step_is_refused_without_the_right_token(store: Store, claims: Claims) -> None:
    claim = replace(await claimed(store, claims), token="stale")
    assert await claims.start(claim, "instant") == 0
    assert await claims.page_start(claim, 1) == 0
    assert not await claims.page_end(claim, page(1))
    assert not await claims.stream(claim, [PageText(page=1, text="x")])
    assert await claims.finish(claim) == ""
    await claims.fail(claim, "x", "y")
    await claims.release(claim)
    assert await claims.renew([claim]) == {claim.job.id}
    job = await store.job(claim.job.id)
    assert (job.status, job.progress.pages_done, await names(store, job.id)) == ("queued", 0, ["status"])


async def test_finish_needs_every_page_and_cleans_up(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims, 2)
    await claims.start(claim, "instant")
    await claims.page_start(claim, 1)
    usage = Usage(prompt_tokens=5, completion_tokens=7, engine_seconds=0.5)
    assert await claims.page_end(claim, page(1, usage=usage, figures=FIGURES), b"webp", [("1_0.jpg", b"jpeg")])
    assert await claims.finish(claim) == "incomplete"
    await claims.page_start(claim, 2)
    assert await claims.page_end(claim, page(2))
    assert await claims.finish(claim) == "succeeded"
    job = await store.job(claim.job.id)
    assert (job.status, job.usage, job.finished, job.queue) == ("succeeded", usage, True, None)
    assert [mark.number for mark in job.pages] == [1, 2]
    assert [p.markdown for p in await store.pages(job.id)] == ["page 1", "page 2"]
    assert await store.page_image(job.id, 1) == b"webp"
    assert await store.figures(job.id) == {"1_0.jpg": b"jpeg"}
    assert not valkey.client.exists(f"in:{job.id}", f"starts:{job.id}", f"flight:{job.id}")
    counters = await store.stats.counters()
    assert (counters["jobs"], counters["pages"], counters["bytes"], counters["running"]) == (0, 0, 0, 0)
    for kind in ("job", "pages", "marks", "stored", "ev"):
        assert valkey.client.ttl(f"{kind}:{job.id}") > 0, kind
    assert valkey.client.zcard("open") == valkey.client.zcard("waiting:3") == 0
    assert await names(store, job.id) == [
        "status", "status", "page.started", "page.completed", "page.started", "page.completed", "done",
    ]  # fmt: skip


async def test_second_result_of_a_page_is_dropped(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims, 2)
    await claims.page_end(claim, page(1))
    assert await claims.page_end(claim, PageResult(number=1, status=PageStatus.FAILED, reason="late"))
    job = await store.job(claim.job.id)
    assert (job.progress.pages_done, job.progress.pages_failed) == (1, 0)


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([PageStatus.OK, PageStatus.SKIPPED], "succeeded"),
        ([PageStatus.OK, PageStatus.DEGRADED], "partial"),
        ([PageStatus.OK, PageStatus.FAILED], "partial"),
        ([PageStatus.FAILED, PageStatus.FAILED], "failed"),
    ],
)
async def test_status_of_a_job_follows_from_its_pages(
    store: Store, claims: Claims, ends: list[PageStatus], status: str
) -> None:
    claim = await claimed(store, claims, 2)
    for number, end in enumerate(ends, 1):
        await claims.page_end(claim, page(number, end, reason=None if end is PageStatus.OK else "why"))
    assert await claims.finish(claim) == status
    job = await store.job(claim.job.id)
    assert (job.status, job.error is not None) == (status, status == "failed")


async def test_a_dead_workers_job_goes_back_and_keeps_its_pages(store: Store, claims: Claims, valkey: Valkey) -> None:
    claims.settings = make_settings(valkey.url, lease=1e-6, requeue_after=1e-6)
    claim = await claimed(store, claims, 3)
    await claims.start(claim, "instant")
    await claims.page_start(claim, 1)
    await claims.page_end(claim, page(1))
    await claims.page_start(claim, 2)
    assert await claims.reap() == 1
    assert (await store.job(claim.job.id)).status == "queued"
    assert not await claims.page_end(claim, page(2)), "the dead worker's late result is refused"
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert (set(again.ended), again.starts) == ({1}, {1: 1, 2: 1})
    assert await claims.start(again, "instant") == 2
    assert "page.restarted" in await names(store, claim.job.id)
    assert (await store.stats.counters())["running"] == 1


async def test_an_unclaimed_jobs_message_is_sent_again_ever_more_slowly(store: Store, valkey: Valkey) -> None:
    store.settings = make_settings(valkey.url, requeue_after=1e-6)
    claims = Claims(store.redis, make_settings(valkey.url, requeue_after=20), "w")
    job_id = await submit(store)
    assert await claims.reap() == 1
    assert await claims.reap() == 0
    assert valkey.client.llen("ocr\x06\x163") == 2
    due = valkey.client.zscore("open", job_id)
    assert due is not None
    assert float(due) > valkey.client.time()[0] + 35


async def test_release_gives_the_job_back_without_counting_its_pages(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims, 2)
    await claims.start(claim, "instant")
    await claims.page_start(claim, 1)
    await claims.release(claim)
    assert (await store.job(claim.job.id)).status == "queued"
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert again.starts == {}


async def test_page_start_repeated_after_a_lost_reply_counts_once(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims)
    assert [await claims.page_start(claim, 1), await claims.page_start(claim, 1)] == [1, 1]
    await claims.page_stop(claim, 1, forgive=False)
    assert await claims.page_start(claim, 1) == 2
    await claims.page_stop(claim, 1, forgive=True)
    assert await claims.page_start(claim, 1) == 2


@pytest.mark.parametrize("begun", [False, True])
async def test_cancel_ends_a_job_at_once_and_its_worker_learns_of_it(store: Store, claims: Claims, begun: bool) -> None:
    claim = await claimed(store, claims, 2)
    if begun:
        await claims.start(claim, "instant")
    await store.cancel(claim.job.id)
    assert (await store.job(claim.job.id)).status == "cancelled"
    assert await claims.renew([claim]) == {claim.job.id}
    assert not await claims.page_end(claim, page(1))
    with pytest.raises(AlreadyFinished):
        await store.cancel(claim.job.id)
    counters = await store.stats.counters()
    assert (counters["jobs"], counters["pages"], counters.get("running", 0)) == (0, 0, 0)


async def test_deadline_counts_the_time_in_the_queue(store: Store, claims: Claims) -> None:
    job_id = await submit(store, deadline=1e-6)
    assert await claims.claim(job_id, "t") is None
    job = await store.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "deadline-exceeded")


async def test_reaper_ends_an_overdue_job_nobody_asks_for(store: Store, claims: Claims, valkey: Valkey) -> None:
    job_id = await submit(store, deadline=1e-6)
    assert await claims.reap() == 1
    assert valkey.client.hget(f"job:{job_id}", "status") == b"failed"


async def test_renewal_ends_a_job_whose_deadline_passed(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims, deadline=1000)
    valkey.client.hset(f"job:{claim.job.id}", "deadline", 1)
    assert await claims.renew([claim]) == {claim.job.id}
    assert (await store.job(claim.job.id)).status == "failed"


async def test_a_job_whose_upload_is_gone_fails_with_a_reason(store: Store, claims: Claims, valkey: Valkey) -> None:
    job_id = await submit(store)
    valkey.client.delete(f"in:{job_id}")
    assert await claims.claim(job_id, "t") is None
    job = await store.job(job_id)
    assert job.error is not None
    assert job.error.code == "upload-expired"


async def test_delete_forgets_everything(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims)
    await claims.page_end(claim, page(1, figures=FIGURES), b"webp", [("1_0.jpg", b"jpeg")])
    await store.delete(claim.job.id)
    await store.delete(claim.job.id)
    with pytest.raises(NotFound):
        await store.job(claim.job.id)
    assert left_of(valkey, claim.job.id) == []
    assert valkey.client.zcard("jobs:anonymous") == 0
    # Whoever follows the job reads its end, however late the next read is.
    assert [stored.event for stored in await store.events(claim.job.id)] == [
        JobDone(status=JobStatus.CANCELLED, error=None)
    ]


async def test_list_is_newest_first_by_cursor_and_only_the_callers(store: Store) -> None:
    mine = [await submit(store, owner="me") for _ in range(5)]
    await submit(store, owner="other")
    await store.cancel(mine[3])
    first, cursor = await store.jobs("me", limit=2)
    rest, end = await store.jobs("me", limit=9, cursor=cursor)
    assert [job.id for job in first + rest] == mine[::-1]
    assert end is None
    cancelled, _ = await store.jobs("me", status="cancelled")
    assert [job.id for job in cancelled] == [mine[3]]


async def test_a_list_carries_no_pages_and_a_job_does(store: Store, claims: Claims) -> None:
    claim = await claimed(store, claims, pages=2)
    await claims.page_end(claim, page(1))
    (listed,), _ = await store.jobs("anonymous")
    assert (listed.progress.pages_done, listed.pages) == (1, ())
    assert [mark.number for mark in (await store.job(claim.job.id)).pages] == [1]


async def test_a_list_can_be_walked_while_its_jobs_go_and_come(store: Store) -> None:
    mine = [await submit(store, owner="me") for _ in range(6)]
    seen, cursor = [], None
    while True:
        jobs, cursor = await store.jobs("me", limit=2, cursor=cursor)
        for job in jobs:
            seen.append(job.id)
            await store.delete(job.id)
        await submit(store, owner="me")
        if cursor is None:
            break
    assert seen == mine[::-1]


async def test_a_list_of_one_state_looks_up_few_others(store: Store, valkey: Valkey) -> None:
    mine = [await submit(store, owner="me") for _ in range(60)]
    for job_id in mine[1:]:
        await store.cancel(job_id)
    before = valkey.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    queued, end = await store.jobs("me", status="queued")
    assert ([job.id for job in queued], end) == (mine[:1], None)
    assert valkey.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    cancelled, cursor = await store.jobs("me", status="cancelled", limit=50)
    rest, end = await store.jobs("me", status="cancelled", limit=50, cursor=cursor)
    assert [job.id for job in cancelled + rest] == mine[:0:-1]
    assert (len(cancelled), end) == (50, None)


async def test_an_overdue_job_is_listed_as_what_it_is(store: Store) -> None:
    overdue = await submit(store, owner="me", deadline=1e-6)
    assert await store.jobs("me", status="queued") == ([], None)
    failed, _ = await store.jobs("me", status="failed")
    assert [job.id for job in failed] == [overdue]


async def test_a_job_whose_record_has_expired_leaves_the_list(store: Store, claims: Claims, valkey: Valkey) -> None:
    ended, other = await submit(store, owner="me"), await submit(store, owner="me")
    await store.cancel(ended)
    valkey.client.zadd("jobs:/ended", {f"me {ended}": 1})
    await claims.reap()
    assert valkey.client.zrange("jobs:me", 0, -1) == [other.encode()]
    assert valkey.client.zcard("jobs:/ended") == 0


async def test_another_owners_job_is_not_found(store: Store) -> None:
    job_id = await submit(store, owner="a")
    assert (await store.job(job_id, "a")).id == job_id
    with pytest.raises(NotFound):
        await store.job(job_id, "b")


async def test_position_and_pages_ahead_respect_priority(store: Store, claims: Claims) -> None:
    low = await submit(store, 4, options=Options(priority="low"))
    normal = await submit(store, 2)
    await submit(store, 3, options=Options(priority="high"))
    queue = (await store.job(low)).queue
    assert queue is not None
    assert (queue.position, queue.pages_ahead, queue.eta_seconds) == (3, 5, None)
    claim = await claims.claim(normal, "t")
    assert claim is not None
    await claims.start(claim, "x")
    await claims.page_start(claim, 1)
    await claims.page_end(claim, page(1))
    queue = (await store.job(low)).queue
    assert queue is not None
    assert (queue.position, queue.pages_ahead) == (2, 4)
    assert queue.eta_seconds is not None


def busy_seconds(valkey: Valkey) -> float:
    return sum((float(valkey.client.get(key) or 0) for key in valkey.client.keys("rate:busy:*")), 0.0)


async def test_the_estimate_counts_the_time_in_which_pages_were_read(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    """A service that idled for most of the last minute is not slow: two pages at once, and one after a pause."""
    claim = await claimed(store, claims, 8)
    seconds, microseconds = valkey.client.time()
    now = seconds + microseconds / 1e6

    async def read(number: int, began: float) -> None:
        await claims.page_start(claim, number)
        valkey.client.hset(f"flight:{claim.job.id}", str(number), now - began)
        await claims.page_end(claim, page(number))

    await read(1, began=4)
    await read(2, began=4)  # beside the first: adds nothing
    busy = busy_seconds(valkey)
    assert 4 <= busy < 6
    valkey.client.set("rate:last", now - 30)
    await read(3, began=2)
    busy = busy_seconds(valkey)
    assert 6 <= busy < 9
    queue = (await store.job(claim.job.id)).queue
    assert queue is not None
    assert queue.eta_seconds is not None
    assert 5 * 6 / 3 <= queue.eta_seconds < 5 * 9 / 3
    assert 3 / 9 < await store.stats.speed() <= 3 / 6


async def test_webhook_is_due_once_whatever_is_repeated(store: Store, claims: Claims, valkey: Valkey) -> None:
    webhook = WebhookTarget(url="https://example.org/hook", events=("job.started", "job.succeeded"))
    claim = await claimed(store, claims, webhook=webhook)
    await claims.start(claim, "x")
    await claims.start(claim, "x")
    await claims.page_end(claim, page(1))
    await claims.finish(claim)
    await claims.finish(claim)
    due = valkey.client.zrange("hooks:due", 0, -1)
    assert sorted(due) == [f"msg_{claim.job.id}_{kind}".encode() for kind in ("started", "succeeded")]
    assert valkey.client.llen(f"hooks:{claim.job.id}") == 2


async def test_a_batch_that_its_gateway_never_closed_goes_in_time(store: Store, valkey: Valkey) -> None:
    batch = await store.batches.create("me")
    await submit(store, owner="me", batch=batch)
    of_the_list, of_the_batch = valkey.client.pttl(f"batch:{batch}:jobs"), valkey.client.pttl(f"batch:{batch}")
    assert 0 < of_the_list <= store.settings.max_job_age * 1000 + 2000 * store.settings.result_ttl
    assert abs(of_the_list - of_the_batch) < 60_000


async def test_batch_lists_its_jobs_and_refusals(store: Store) -> None:
    batch = await store.batches.create("me")
    jobs = [await submit(store, owner="me", batch=batch) for _ in range(2)]
    await store.batches.close(batch, [StoredRejection(filename="x", problem={"code": "file-empty"})])
    found = await store.batches.find(batch, "me")
    assert (list(found.job_ids), found.rejected[0].filename) == (jobs, "x")
    with pytest.raises(NotFound):
        await store.batches.find(batch, "other")


async def test_workers_are_believed_for_a_while_only(store: Store, claims: Claims, valkey: Valkey) -> None:
    await claims.report(WorkerStatus(name="worker-1", engine=EngineStatus("instant")))
    assert [worker.name for worker in await store.workers()] == ["worker-1"]
    valkey.client.delete("worker:worker-1")
    assert await store.workers() == []
    assert valkey.client.smembers("workers") == set()


async def test_scripts_survive_a_server_that_forgot_them(store: Store, valkey: Valkey) -> None:
    await submit(store)
    valkey.client.script_flush()
    assert await submit(store)


async def test_a_script_runs_although_the_server_forgets_it_again_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart between SCRIPT LOAD and EVALSHA once failed a job; the text goes along instead."""

    async def forgotten(*_: Any) -> None:
        raise NoScriptError("No matching script.")

    monkeypatch.setattr(store.redis, "evalsha", forgotten)
    assert await submit(store)


async def test_a_newer_versions_record_is_readable(store: Store, claims: Claims, valkey: Valkey) -> None:
    claim = await claimed(store, claims)
    await claims.page_end(claim, page(1))
    record, pages = f"job:{claim.job.id}", f"pages:{claim.job.id}"
    valkey.client.hset(record, mapping={"colour": "green", "options": '{"type": "document", "speed": "high"}'})
    newer = json.loads(valkey.client.hget(pages, "1") or b"") | {"mood": "good"}
    valkey.client.hset(pages, "1", json.dumps(newer))
    assert (await store.job(claim.job.id)).options == Options()
    assert (await store.pages(claim.job.id))[0].markdown == "page 1"


async def test_an_older_versions_record_without_newer_fields_is_readable(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    job_id = await submit(store)
    valkey.client.hset(f"job:{job_id}", "options", "{}")
    valkey.client.hdel(f"job:{job_id}", "webhook_url", "webhook_events", "batch", "requeues")
    claim = await claims.claim(job_id, "t")
    assert claim is not None
    await claims.start(claim, "x")
    await claims.page_end(claim, page(1))
    assert await claims.finish(claim) == "succeeded"


async def test_a_store_that_refuses_writes_is_unavailable_and_recovers(store: Store, valkey: Valkey) -> None:
    """As with a full disk: Redis answers, but takes nothing."""
    valkey.client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(StoreUnavailable):
            await submit(store)
    finally:
        valkey.client.config_set("min-replicas-to-write", 0)
    assert valkey.client.keys("job:*") == []
    assert await submit(store)
