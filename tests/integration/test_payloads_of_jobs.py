"""What lies in the payload store, what names it, and when it goes: on a folder, in a bucket and in Redis alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import admin
from shared.contract.document import Figure, PageBlock, PageResult, PageStatus
from shared.contract.events import JobDone
from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.contract.states import JobStatus
from shared.errors import NotFound, PayloadMissing, QueueFull, StoreFull, StoreUnavailable
from shared.payloads.base import PayloadStore
from shared.payloads.names import PICTURE, RESULT, job_folder, page_name, upload_name
from shared.store import keyspace
from shared.store.connect import connect
from shared.store.jobs import UPLOAD_IN_RECORD, Store
from shared.store.kept import delete_kept, kept_by_owner
from tests.conftest import make_settings
from tests.settings import Settings
from tools.uploads import submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims
from worker.payload_sweeper import PayloadSweeper

LARGE = b"\x89large upload " * (UPLOAD_IN_RECORD // 8)
FIGURES = (Figure(name="1_0.jpg", bbox=(0, 0, 5, 5)),)
LONG = "a line of the page\n" * 100
READ = PageResult(
    number=1, status=PageStatus.OK, markdown=LONG, figures=FIGURES,
    blocks=(PageBlock(type="text", bbox=(0, 0, 5, 5), text=LONG),),
)  # fmt: skip
JPEGS = [("1_0.jpg", b"jpeg")]


@pytest.fixture
def settings(anywhere: Settings) -> Settings:
    return anywhere


@contextlib.asynccontextmanager
async def both(settings: Settings) -> AsyncIterator[tuple[Store, Claims, PayloadSweeper]]:
    """The gateway's half, the worker's, and a sweeper."""
    client = connect(settings.redis_url.get_secret_value(), patient=False)
    store, claims = Store(client, settings), Claims(client, settings, "worker-1")
    try:
        yield store, claims, PayloadSweeper(client, claims.payloads, "worker-1", orphan_age=-1)
    finally:
        await client.aclose()


async def claimed(store: Store, claims: Claims, name: str = "t1", pages: int = 1) -> Claim:
    claim = await claims.claim(await submit(store, LARGE, "application/pdf", pages), name)
    assert claim is not None
    return claim


async def stored(payloads: PayloadStore | None, job_id: str) -> list[str]:
    """The names of the job's payloads, without their folder."""
    assert payloads is not None
    return [one.name.removeprefix(job_folder(job_id)) async for one in payloads.under(job_folder(job_id))]


async def orphans(sweeper: PayloadSweeper, payloads: PayloadStore | None, job_id: str, age: float = -1) -> int:
    assert payloads is not None
    return await sweeper.sweep(payloads, job_folder(job_id).split("/")[0] + "/", await payloads.now() - age)


async def test_a_job_reads_as_it_was_written_wherever_it_lies(settings: Settings) -> None:
    async with both(settings) as (store, claims, sweeper):
        claim = await claimed(store, claims, pages=2)
        upload = await claims.upload(claim.job.id)
        assert upload is not None
        assert (bytes(upload[0]), upload[1]) == (LARGE, None)
        assert await claims.page_end(claim, READ, b"webp", JPEGS)
        failed = PageResult(number=2, status=PageStatus.FAILED, reason="timeout")
        assert await claims.page_end(claim, failed)
        assert await claims.finish(claim) == "partial"
        await sweeper.clean_up()
        job_id = claim.job.id
        assert await store.pages(job_id) == [READ, failed]
        assert (await store.page(job_id, 1), await store.page(job_id, 2)) == (READ, failed)
        assert (await store.page_image(job_id, 1), await store.page_image(job_id, 2)) == (b"webp", None)
        assert await store.figures(job_id) == dict(JPEGS)
        assert [await store.figure(job_id, name) for name in ("1_0.jpg", "1_1.jpg", "7_0.jpg", "../x")] == [
            b"jpeg", None, None, None,
        ]  # fmt: skip
        if store.payloads is not None:
            assert await stored(store.payloads, job_id) == ["t1/1/1_0.jpg", "t1/1/picture.webp", "t1/1/result.json"]
            assert await orphans(sweeper, store.payloads, job_id) == 0


async def test_a_deleted_job_leaves_nothing_anywhere(settings: Settings, valkey: Valkey) -> None:
    async with both(settings) as (store, claims, sweeper):
        claim = await claimed(store, claims, pages=2)
        await claims.page_end(claim, READ, b"webp", JPEGS)
        await store.delete(claim.job.id)
        await sweeper.clean_up()
        if store.payloads is not None:
            assert [one async for one in store.payloads.under("")] == []
        assert valkey.client.exists(keyspace.CLEANUPS(), keyspace.PAGE_PAYLOADS(claim.job.id)) == 0


async def test_a_result_goes_when_it_expires_and_its_upload_at_the_jobs_end(
    in_folder: Settings, valkey: Valkey
) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        claim = await claimed(store, claims)
        assert await stored(store.payloads, claim.job.id) == ["upload"]
        await claims.page_end(claim, READ, b"webp", JPEGS)
        await claims.finish(claim)
        await sweeper.clean_up()
        assert "upload" not in await stored(store.payloads, claim.job.id)
        last = valkey.client.zscore(keyspace.CLEANUPS(), f"payloads {claim.job.id}")
        assert last == float((await store.job(claim.job.id)).expires_at or 0)
        valkey.client.zadd(keyspace.CLEANUPS(), {f"payloads {claim.job.id}": 1})
        assert await sweeper.clean_up() == 1
        assert await stored(store.payloads, claim.job.id) == []


async def test_a_worker_that_lost_its_claim_overwrites_nothing(in_folder: Settings, valkey: Valkey) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        first = await claimed(store, claims, "first")
        valkey.client.hset(keyspace.JOB(first.job.id), "lease", 1)
        second = await claims.claim(first.job.id, "second")
        assert second is not None
        assert await claims.page_end(second, READ, b"right")
        assert not await claims.page_end(first, READ.model_copy(update={"markdown": "wrong" * 200}), b"wrong", JPEGS)
        assert await claims.finish(second) == "succeeded"
        assert await store.pages(first.job.id) == [READ]
        assert await store.page_image(first.job.id, 1) == b"right"
        assert await orphans(sweeper, store.payloads, first.job.id) == 4  # of the first claim, and the upload
        assert await store.pages(first.job.id) == [READ]


async def test_orphans_are_swept_up_once_they_are_old(in_folder: Settings) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        claim = await claimed(store, claims)
        assert store.payloads is not None
        await store.payloads.put(page_name(claim.job.id, "t0", 1, RESULT), b"of a worker that died")
        assert await orphans(sweeper, store.payloads, claim.job.id, age=3600) == 0
        assert await orphans(sweeper, store.payloads, claim.job.id) == 1
        assert await stored(store.payloads, claim.job.id) == ["upload"]


async def test_one_worker_at_a_time_sweeps(in_folder: Settings, valkey: Valkey) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        await store.delete((await claimed(store, claims)).job.id)
        valkey.client.set(keyspace.SWEEPER(), "another")
        await sweeper.step()
        assert valkey.client.zcard(keyspace.CLEANUPS()) == 2
        valkey.client.delete(keyspace.SWEEPER())
        await sweeper.step()
        assert valkey.client.zcard(keyspace.CLEANUPS()) == 0
        assert valkey.client.get(keyspace.SWEEPER()) == b"worker-1"


async def test_a_refused_submission_leaves_no_upload(valkey: Valkey, tmp_path: Path) -> None:
    full = make_settings(valkey.url, payloads_url=f"file://{tmp_path}/payloads", max_queue_jobs=1)
    async with both(full) as (store, claims, _):
        await claimed(store, claims)
        with pytest.raises(QueueFull):
            await submit(store, LARGE, "application/pdf")
        assert store.payloads is not None
        assert len([one async for one in store.payloads.under("")]) == 1


async def test_a_missing_page_is_an_error_of_its_own_and_counted(in_folder: Settings) -> None:
    async with both(in_folder) as (store, claims, _):
        claim = await claimed(store, claims)
        await claims.page_end(claim, READ, b"webp", JPEGS)
        assert store.payloads is not None
        for part in (RESULT, PICTURE):
            await store.payloads.delete([page_name(claim.job.id, "t1", 1, part)])
        for ask in (store.pages(claim.job.id), store.page(claim.job.id, 1), store.page_image(claim.job.id, 1)):
            with pytest.raises(PayloadMissing):
                await ask
        assert (await store.stats.counters())[keyspace.Counter.PAYLOADS_MISSING] == 3
        await store.redis.delete(keyspace.PAGE_PAYLOADS(claim.job.id))
        with pytest.raises(NotFound):  # deleted while it was looked for
            await store._is_missing(claim.job.id, 1, RESULT)


async def test_a_worker_waits_for_an_upload_and_says_which_is_missing(
    in_folder: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(in_folder) as (store, claims, _):
        claim = await claimed(store, claims)
        assert claims.payloads is not None
        away = Away(claims.payloads.get, times=3)
        monkeypatch.setattr(claims.payloads, "get", away)
        assert await claims.upload(claim.job.id) == (memoryview(LARGE), None)
        assert away.refused == 3
        await claims.payloads.delete([upload_name(claim.job.id)])
        with pytest.raises(PayloadMissing):
            await claims.upload(claim.job.id)
        assert (await store.stats.counters())[keyspace.Counter.PAYLOADS_MISSING] == 1


async def test_a_worker_keeps_a_page_until_there_is_room(in_folder: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with both(in_folder) as (store, claims, _):
        claim = await claimed(store, claims)
        assert claims.payloads is not None
        full = Away(claims.payloads.put_all, times=4, error=StoreFull)
        monkeypatch.setattr(claims.payloads, "put_all", full)
        assert await claims.page_end(claim, READ, b"webp", JPEGS)
        assert full.refused == 4
        assert await store.pages(claim.job.id) == [READ]


class Away:
    """A method that refuses some ``times`` before it does what it does."""

    def __init__(self, method: Any, times: int, error: type[StoreUnavailable] = StoreUnavailable) -> None:
        self._method, self._times, self._error = method, times, error
        self.refused = 0

    async def __call__(self, *args: Any) -> Any:
        if self.refused < self._times:
            self.refused += 1
            raise self._error
        return await self._method(*args)


async def test_a_late_reader_of_a_finished_job_gets_its_end(in_folder: Settings, valkey: Valkey) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        claim = await claimed(store, claims)
        await claims.page_start(claim, 1)
        await claims.page_end(claim, READ)
        await claims.finish(claim)
        await sweeper.clean_up()
        assert len(await store.events(claim.job.id)) > 1  # somebody may still be reading
        valkey.client.zadd(keyspace.CLEANUPS(), {f"events {claim.job.id}": 1})
        await sweeper.clean_up()
        assert [one.event for one in await store.events(claim.job.id)] == [
            JobDone(status=JobStatus.SUCCEEDED, error=None)
        ]


async def test_a_finished_page_costs_redis_less_than_a_kilobyte_and_a_job_less_than_four(
    in_folder: Settings, valkey: Valkey
) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        sizes = {}
        for pages in (1, 101):
            claim = await claimed(store, claims, f"{pages:032x}", pages=pages)
            await claims.start(claim, "deepseek-ocr")
            for number in range(1, pages + 1):
                await claims.page_start(claim, number)
                named = tuple(Figure(name=f"{number}_0.jpg", bbox=(0, 0, 5, 5)) for _ in range(1))
                read = READ.model_copy(update={"number": number, "figures": named})
                assert await claims.page_end(claim, read, b"webp", [(f"{number}_0.jpg", b"jpeg")])
            assert await claims.finish(claim) == "succeeded"
            valkey.client.zadd(keyspace.CLEANUPS(), {f"events {claim.job.id}": 1})
            await sweeper.clean_up()
            names = [name for name in valkey.client.scan_iter() if claim.job.id.encode() in name]
            sizes[pages] = sum(valkey.client.memory_usage(name, samples=0) or 0 for name in names)
            await asyncio.sleep(0)
        assert sizes[1] <= 5 * 1024, sizes
        assert (sizes[101] - sizes[1]) / 100 <= 1024, sizes


async def test_a_disk_without_room_is_told_with_when_results_expire(in_folder: Settings, valkey: Valkey) -> None:
    full = in_folder.model_copy(update={"payloads_min_free": 2**62})
    async with both(in_folder) as (store, claims, _), both(full) as (refusing, _, _):
        claim = await claimed(store, claims)
        with pytest.raises(StoreFull) as refused:
            await submit(refusing, b"small", "application/pdf")
        assert refused.value.retry_after == 3600
        await claims.page_end(claim, READ)
        await claims.finish(claim)
        ttl = in_folder.result_ttl
        entry = f"anonymous {claim.job.id}"
        valkey.client.zincrby(keyspace.ENDED_JOBS(), 600 - ttl, entry)  # as if it had ended long ago
        refusal = await refusing.admission.refusal()
        assert isinstance(refusal, StoreFull)
        assert refusal.retry_after is not None
        assert 595 < refusal.retry_after <= 601


async def test_a_disk_that_is_full_of_uploads_has_room_as_soon_as_they_are_read(
    in_folder: Settings, valkey: Valkey
) -> None:
    async with both(in_folder) as (store, _, _):
        for _ in range(3):
            await submit(store, LARGE, "application/pdf", 10)
        waits = {}
        for missing in (len(LARGE) // 2, 2 * len(LARGE), 4 * len(LARGE)):
            for speed in ("nothing read", "two pages a second"):
                if speed == "two pages a second":
                    now = int(time.time() / 10)
                    valkey.client.mset({keyspace.PAGES_ENDED(now): 20, keyspace.READING_SECONDS(now): 10})
                else:
                    valkey.client.delete(*valkey.client.keys("rate:*") or ["-"])
                refusal = await store.admission.store_full("The payload store has", uploads=missing)
                waits[missing / len(LARGE), speed] = round(refusal.retry_after or 0)
    assert waits == {
        (0.5, "nothing read"): 3600, (2, "nothing read"): 3600, (4, "nothing read"): 3600,
        (0.5, "two pages a second"): 6,  # one job of ten pages
        (2, "two pages a second"): 11,  # two of them
        (4, "two pages a second"): 3600,  # there are only three
    }  # fmt: skip


async def test_a_payload_store_that_refuses_an_upload_is_full_for_a_moment(
    in_folder: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(in_folder) as (store, _, _):
        assert store.payloads is not None
        monkeypatch.setattr(store.payloads, "put", Away(store.payloads.put, 1, StoreFull))
        with pytest.raises(StoreFull):
            await submit(store, LARGE, "application/pdf")
        assert isinstance(await store.admission.refusal(), StoreFull)
        assert valkey.client.keys("job:*") == []
        monkeypatch.setattr("shared.store.admission.REFUSED_SECONDS", 0.0)
        assert await submit(store, LARGE, "application/pdf")


async def test_a_sweepers_own_clock_does_not_make_payloads_old(
    in_folder: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(in_folder) as (store, claims, _):
        claim = await claimed(store, claims)
        assert store.payloads is not None
        await store.payloads.put(page_name(claim.job.id, "t1", 1, RESULT), b"about to be named")
        monkeypatch.setattr(time, "time", lambda: 2**33)
        sweeper = PayloadSweeper(store.redis, store.payloads, "worker-1", orphan_age=3600)
        for _ in range(5):
            await sweeper.step()
        assert await stored(store.payloads, claim.job.id) == ["t1/1/result.json", "upload"]


async def test_a_password_lies_beside_the_record_and_not_in_the_payload(in_folder: Settings) -> None:
    """So that it is gone at the job's end, whatever becomes of the payload."""
    async with both(in_folder) as (store, claims, _):
        upload = Input(filename="a", media_type="application/pdf", bytes=1, sha256="0", pages=1, page_range="1")
        new = NewJob(input=upload, pages=1, options=Options())
        job_id = (await store.submit(new, LARGE, password="open sesame")).job_id
        assert await claims.upload(job_id) == (memoryview(LARGE), "open sesame")
        assert store.payloads is not None
        assert await store.payloads.get(upload_name(job_id)) == LARGE


async def test_pictures_may_go_before_the_result(settings: Settings, valkey: Valkey) -> None:
    async with both(settings.model_copy(update={"picture_ttl": 60})) as (store, claims, sweeper):
        claim = await claimed(store, claims)
        await claims.page_end(claim, READ, b"webp", JPEGS)
        await claims.finish(claim)
        job_id = claim.job.id
        if store.payloads is None:
            assert 55 < valkey.client.ttl(keyspace.PAGE_IMAGES(job_id)) <= 60
            return
        at = valkey.client.zscore(keyspace.CLEANUPS(), f"pictures {job_id}")
        assert at == pytest.approx(((await store.job(job_id)).completed_at or 0) + 60, abs=0.01)
        valkey.client.zadd(keyspace.CLEANUPS(), {f"pictures {job_id}": 1})
        await sweeper.clean_up()
        assert await stored(store.payloads, job_id) == ["t1/1/1_0.jpg", "t1/1/result.json"]
        assert (await store.page_image(job_id, 1), await store.picture_part(job_id, 1)) == (None, None)
        assert (await store.pages(job_id), await store.figures(job_id)) == ([READ], dict(JPEGS))


async def test_an_operator_sees_what_is_kept_and_deletes_by_owner_and_age(in_folder: Settings, valkey: Valkey) -> None:
    async with both(in_folder) as (store, claims, sweeper):
        for owner in ("alice", "alice", "bob"):
            claim = await claims.claim(await submit(store, LARGE, "application/pdf", owner=owner), "t1")
            assert claim is not None
            await claims.page_end(claim, READ, b"webp", JPEGS)
            await claims.finish(claim)
        await sweeper.clean_up()
        alice, bob = await kept_by_owner(store)
        size = len(READ.model_dump_json()) + len(b"webp") + len(b"jpeg")
        assert (alice.owner, alice.jobs, alice.pages, alice.payload_bytes) == ("alice", 2, 2, 2 * size)
        assert (bob.owner, bob.jobs, bob.payload_bytes) == ("bob", 1, size)
        assert await delete_kept(store, older_than=3600) == 0
        eldest = (await store.jobs("alice"))[0][-1].id
        valkey.client.hincrbyfloat(keyspace.JOB(eldest), "completed", -7200)
        listed = await admin.run(in_folder, admin.parse(["payloads", "list"]))
        assert [line.split()[:3] for line in listed.splitlines()[1:]] == [["alice", "2", "2"], ["bob", "1", "1"]]
        deleted = await admin.run(in_folder, admin.parse(["payloads", "delete", "--older", "1h"]))
        assert deleted == "1 jobs deleted"
        assert await delete_kept(store, owner="alice") == 1
        await sweeper.clean_up()
        assert [its.owner for its in await kept_by_owner(store)] == ["bob"]
        assert store.payloads is not None
        assert len([one async for one in store.payloads.under("")]) == 3


async def test_deleting_needs_to_be_told_what(in_folder: Settings) -> None:
    with pytest.raises(ValueError, match="say which"):
        await admin.run(in_folder, admin.parse(["payloads", "delete"]))
