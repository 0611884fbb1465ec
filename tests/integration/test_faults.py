"""The faults that made others lose jobs or run them twice, one by one (docs/reliability.md has the list)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import admin
from shared.contract.events import PageCompleted
from shared.errors import StoreFull
from shared.store.connect import connect
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.waiting import FIXTURES, ended, names, until, until_event
from tests.settings import settings_of
from tools.processes import Worker
from tools.uploads import picture, png, submit, tiff
from tools.valkey import Valkey
from worker.engines.instant import answer


async def _asking(valkey: Valkey) -> None:
    """Until a worker waits in BRPOP for a message."""
    while not any(client["cmd"] == "brpop" and "b" in client["flags"] for client in valkey.client.client_list()):
        await asyncio.sleep(0.02)


async def test_frozen_worker_that_was_handed_a_message_and_then_killed_loses_nothing(
    store: Store,
    start_worker: Callable[..., Worker],
    valkey: Valkey,
) -> None:
    """Redis pops the message into a socket nobody reads: neither queued nor unacknowledged. The reaper resends it."""
    store.settings = make_settings(valkey.url, requeue_after=1)
    worker = start_worker(requeue_after=1).wait_ready()
    ids: list[str] = []
    handed = False
    async with asyncio.timeout(30):
        while not handed:
            await _asking(valkey)
            worker.signal(signal.SIGSTOP)
            ids.append(await submit(store, png(len(ids)), "image/png"))
            # A worker frozen between two of its BRPOPs, or whose BRPOP ended just now, is handed nothing: once more.
            handed = valkey.client.llen("ocr\x06\x163") == 0
            if not handed:
                worker.signal(signal.SIGCONT)
                await ended(store, ids[-1])
    worker.kill()
    start_worker(requeue_after=1)
    for job_id in ids:
        assert (await ended(store, job_id)).status == "succeeded"


async def test_paused_beyond_its_lease_the_first_workers_writes_are_refused(
    store: Store,
    start_worker: Callable[..., Worker],
) -> None:
    first = start_worker(instant_seconds=1, lease=1, pages_in_flight=1)
    job_id = await submit(store, tiff(range(4)), "image/tiff", 4)
    await until_event(store, job_id, "page.started")
    first.signal(signal.SIGSTOP)
    start_worker(instant_seconds=0.5, lease=1, pages_in_flight=1)
    await until(store, job_id, lambda job: job.attempt == 2)
    first.signal(signal.SIGCONT)
    job = await ended(store, job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert [page.markdown for page in await store.pages(job_id)] == [answer(picture(seed)) for seed in range(4)]
    completed = [stored.event.page for stored in await store.events(job_id) if isinstance(stored.event, PageCompleted)]
    assert sorted(completed) == [1, 2, 3, 4]
    assert (await names(store, job_id)).count("done") == 1
    late = await submit(store, png(50), "image/png")
    assert (await ended(store, late)).status == "succeeded"
    assert first.alive


async def test_term_then_kill_at_the_end_of_the_grace_period(
    store: Store,
    start_worker: Callable[..., Worker],
) -> None:
    worker = start_worker(engine=f"{FIXTURES}.never_returns:load", drain_seconds=60, pages_in_flight=4)
    job_id = await submit(store, tiff([1, 2, 3], poison=[2]), "image/tiff", 3)
    await until(store, job_id, lambda job: job.progress.pages_done == 2)
    worker.signal(signal.SIGTERM)
    worker.wait_for(lambda: "Warm shutdown" in worker.text(), what="the drain")
    worker.kill()
    start_worker()
    job = await ended(store, job_id)
    assert (job.status, job.attempt, job.progress.pages_done) == ("succeeded", 2, 3)


async def test_killed_while_an_operators_order_drains_it_the_jobs_are_read_by_the_process_that_follows(
    store: Store,
    start_worker: Callable[..., Worker],
) -> None:
    """For one of the same name see ``test_an_order_to_drain_is_for_the_process_that_reports_now``."""
    worker = start_worker(engine=f"{FIXTURES}.never_returns:load", pages_in_flight=4)
    held = await submit(store, tiff([1, 2, 3], poison=[2]), "image/tiff", 3)
    await until(store, held, lambda job: job.progress.pages_done == 2)
    (draining,) = await store.workers()
    await admin.run(settings_of(store), admin.parse(["workers", "drain", draining.name]))
    while [(one.state, one.jobs) for one in await store.workers()] != [("draining", 1)]:
        await asyncio.sleep(0.02)
    waiting = await submit(store, png(7), "image/png")
    worker.kill()
    start_worker()
    jobs = [await ended(store, job_id) for job_id in (waiting, held)]
    assert [(job.status, job.attempt, job.progress.pages_done) for job in jobs] == [
        ("succeeded", 1, 1), ("succeeded", 2, 3),
    ]  # fmt: skip
    states = {one.name: one.state for one in await store.workers() if one.name != draining.name}
    assert set(states.values()) <= {"ready", "busy"}, states
    assert len(states) == 1


async def test_cold_shutdown_gives_the_job_back_with_its_pages(
    store: Store,
    start_worker: Callable[..., Worker],
) -> None:
    worker = start_worker(engine=f"{FIXTURES}.never_returns:load", pages_in_flight=4)
    job_id = await submit(store, tiff([1, 2], poison=[2]), "image/tiff", 2)
    await until(store, job_id, lambda job: job.progress.pages_done == 1)
    worker.signal(signal.SIGQUIT)
    await asyncio.to_thread(worker.popen.wait, 30)
    assert (await store.job(job_id)).status == "queued"
    start_worker()
    assert (await ended(store, job_id)).status == "succeeded"


async def test_a_workers_clock_an_hour_off_changes_nothing(
    store: Store,
    start_worker: Callable[..., Worker],
) -> None:
    start_worker(engine=f"{FIXTURES}.an_hour_off:load", instant_seconds=0.3, lease=2)
    start_worker(instant_seconds=0.3, lease=2)
    ids = [await submit(store, tiff(range(i * 10, i * 10 + 3)), "image/tiff", 3) for i in range(8)]
    for job_id in ids:
        job = await ended(store, job_id)
        assert (job.status, job.attempt) == ("succeeded", 1)


async def test_at_maxmemory_accepted_jobs_finish_and_the_worker_lives(
    tmp_path: Path,
    start_worker: Callable[..., Worker],
) -> None:
    """Beyond 70 % nothing more is accepted, so what is accepted has room to end."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    client = connect(valkey.url, patient=True)
    store = Store(client, make_settings(valkey.url, payloads_url="redis:"))
    try:
        valkey.client.config_set("maxmemory", 40 * 2**20)
        ids = []
        with pytest.raises(StoreFull):
            for seed in range(200):
                store.stats._memory = (0.0, 0.0)  # look now, not once a second
                ids.append(await submit(store, png(seed) + b"\0" * 2**19, "image/png"))
        assert len(ids) > 5
        worker = start_worker(redis_url=valkey.url, payloads_url="redis:")
        for job_id in ids:
            assert (await ended(store, job_id)).status == "succeeded"
        assert worker.alive
        store.stats._memory = (0.0, 0.0)
        assert await submit(store, png(1), "image/png")
    finally:
        await client.aclose()
        valkey.stop()
