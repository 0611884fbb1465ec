"""A worker's service with a scripted engine and the real store: its jobs, its heartbeat, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.errors import EngineDead
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.engines.fixtures import scripted
from tests.unit.worker.scripted import Held, ScriptedEngine, UnrenderedPages
from tools.uploads import submit
from tools.valkey import Valkey
from worker.engines.base import PageImage, Piece
from worker.fair_queue import FairQueueClosed
from worker.outcome import TaskState
from worker.service import WorkerService


@asynccontextmanager
async def serving(
    valkey: Valkey, engine: ScriptedEngine, on_dead: Callable[[], object] = lambda: None, **more: Any
) -> AsyncIterator[WorkerService]:
    """A service that has started, whose renderer makes no process."""
    settings = make_settings(valkey.url, engine="tests.engines.fixtures.scripted:load", heartbeat=0.02, **more)
    scripted.current.append(engine)
    service = await WorkerService.start(settings, on_dead, lambda _: None)
    service.context.renderer = UnrenderedPages(settings)
    try:
        yield service
    finally:
        scripted.current.remove(engine)
        await service.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def submitted(store: Store, pages: int = 1) -> str:
    return await submit(store, b"upload", "application/pdf", pages)


async def test_an_engine_that_dies_while_nothing_is_read_ends_the_worker(valkey: Valkey) -> None:
    engine, deaths = ScriptedEngine(), list[str]()
    async with serving(valkey, engine, lambda: deaths.append("dead")) as service:
        engine.death = EngineDead("the core process is gone")
        await until(lambda: deaths)
        beats = len(deaths)
        await asyncio.sleep(0.1)  # some heartbeats more: it is said once
        assert (beats, len(deaths)) == (1, 1)
        with pytest.raises(FairQueueClosed):
            await service.context.engine_slots.enter("job")


async def test_an_engine_that_dies_gives_its_jobs_back_with_their_pages_counted(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(Held())
    async with serving(valkey, engine) as service:
        job_id = await submitted(store)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside)
        engine.death = EngineDead("the core process is gone")
        await reading
        assert (await store.job(job_id)).status == "queued"
        claim = await service.claims.claim(job_id, "next")
        assert claim is not None
        assert claim.starts == {1: 1}


async def test_a_drain_lets_pages_end_and_gives_the_rest_back(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(held := Held())
    async with serving(valkey, engine, drain_seconds=60, pages_in_flight=1) as service:
        job_id = await submitted(store, 3)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside == {1})
        service.drain()
        held.release.set()
        await reading
        job = await store.job(job_id)
        assert (job.status, [page.number for page in job.pages]) == ("queued", [1])


async def test_a_drain_by_order_gives_the_job_back_and_a_resumed_worker_reads_it_on(
    valkey: Valkey, store: Store
) -> None:
    engine, told = ScriptedEngine(held := Held()), list[bool]()
    async with serving(valkey, engine, pages_in_flight=1) as service:
        service._take_messages = told.append
        job_id = await submitted(store, 3)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside == {1})
        assert [service._obey(drain=drain) for drain in (False, True, True)] == [False, True, False]
        held.release.set()
        assert (await reading).state is TaskState.GIVEN_BACK
        assert (service.status().state, (await store.job(job_id)).progress.pages_done) == ("draining", 1)
        assert (await service.read_job(job_id)).state is TaskState.GIVEN_BACK  # a message that was under way
        assert service._obey(drain=False)
        await service.read_job(job_id)
        assert (await store.job(job_id)).status == "succeeded"
        assert told == [False, False, True]


async def test_an_order_does_not_open_a_worker_that_ends(valkey: Valkey, store: Store) -> None:
    async with serving(valkey, ScriptedEngine()) as service:
        service._obey(drain=True)
        service.drain()
        assert not service._obey(drain=False)
        assert (await service.read_job(await submitted(store))).state is TaskState.GIVEN_BACK


async def test_a_drain_has_an_end_and_pages_cut_off_by_it_are_forgiven(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(Held())
    async with serving(valkey, engine, drain_seconds=0.05) as service:
        job_id = await submitted(store)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside)
        service.drain()
        async with asyncio.timeout(5):
            await reading
        assert (await store.job(job_id)).status == "queued"
        claim = await service.claims.claim(job_id, "next")
        assert claim is not None
        assert claim.starts == {}


async def test_a_cancelled_job_leaves_the_engine_at_the_next_heartbeat(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(Held())
    async with serving(valkey, engine) as service:
        job_id = await submitted(store)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside)
        await store.cancel(job_id)
        await until(lambda: not engine.inside)
        await reading
        assert (await store.job(job_id)).status == "cancelled"


async def test_a_job_is_held_while_it_is_read_beyond_its_first_lease(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(held := Held())
    async with serving(valkey, engine, lease=0.3) as service:
        job_id = await submitted(store)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside)
        await asyncio.sleep(0.5)
        assert await service.claims.claim(job_id, "another") is None
        held.release.set()
        await reading
        job = await store.job(job_id)
        assert (job.status, job.attempt) == ("succeeded", 1)


async def test_a_job_that_is_read_here_already_is_not_claimed_again(valkey: Valkey, store: Store) -> None:
    engine = ScriptedEngine(held := Held())
    async with serving(valkey, engine) as service:
        job_id = await submitted(store)
        reading = asyncio.create_task(service.read_job(job_id))
        await until(lambda: engine.inside)
        assert (await service.read_job(job_id)).state is TaskState.UNCHANGED
        held.release.set()
        ended = await reading
        assert (ended.state, ended.text.split(" in ")[0]) == (TaskState.SUCCEEDED, "succeeded: 1 of 1 pages")
        assert (await service.read_job(job_id)).state is TaskState.UNCHANGED


async def test_a_fault_of_our_own_fails_the_job_without_telling_of_it(valkey: Valkey, store: Store) -> None:
    async def breaks(page: PageImage) -> AsyncIterator[Piece]:
        if page.number == 1:
            raise RuntimeError("a secret path")
        yield "never"

    async with serving(valkey, ScriptedEngine(breaks)) as service:
        job_id = await submitted(store)
        ended = await service.read_job(job_id)
        assert (ended.state, ended.text.partition(":")[0]) == (TaskState.FAILED, "internal")
        job = await store.job(job_id)
        assert (job.status, job.error and job.error.code) == ("failed", "internal")
        assert job.error is not None
        assert "secret" not in job.error.detail


async def test_a_stopped_worker_is_no_longer_heard_of(valkey: Valkey, store: Store) -> None:
    async with serving(valkey, ScriptedEngine()):
        await until(lambda: valkey.client.scard("workers") == 1)
        assert len(await store.workers()) == 1
    assert await store.workers() == []


async def test_the_heartbeat_file_is_touched_while_the_loop_runs(valkey: Valkey, tmp_path: Any) -> None:
    beat = tmp_path / "beat"
    async with serving(valkey, ScriptedEngine(), heartbeat_file=beat):
        await until(beat.exists)
