"""A worker process that has to end: within its time, with the right exit code, and with its jobs given back."""

from __future__ import annotations

from collections.abc import Callable

from shared.store.jobs import Store
from tests.integration.waiting import FIXTURES, until_event
from tools.processes import Worker
from tools.uploads import submit, tiff
from tools.valkey import Valkey


async def test_term_cuts_pages_off_when_the_drains_time_is_up(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker(engine=f"{FIXTURES}.never_returns:load", drain_seconds=0.3, page_timeout=300)
    job_id = await submit(store, tiff([1], poison=[1]), "image/tiff")
    await until_event(store, job_id, "page.started")
    assert worker.stop() == 0
    assert (await store.job(job_id)).status == "queued"
    assert valkey.client.hgetall("unacked") == {}


def test_an_engine_that_hangs_as_it_is_closed_does_not_keep_its_process(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(engine=f"{FIXTURES}.never_closes:load").wait_ready()
    assert worker.stop() == 71
