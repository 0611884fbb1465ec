"""ETag: the same while nothing but the estimate has changed, another as soon as anything else has."""

from __future__ import annotations

from gateway.api.responses import etag
from shared.contract.job import StoredJob
from shared.contract.states import JobStatus
from shared.store.jobs import Store
from tools.uploads import submit


async def looked_at(store: Store) -> StoredJob:
    return await store.job(await submit(store, b"upload", "application/pdf", 3))


def with_queue(job: StoredJob, **more: object) -> StoredJob:
    assert job.queue is not None
    return job.model_copy(update={"queue": job.queue.model_copy(update=more)})


async def test_the_etag_stays_while_nothing_but_the_estimate_changes(store: Store) -> None:
    job = await looked_at(store)
    later = with_queue(job, eta_seconds=12.5).model_copy(update={"seen_at": job.seen_at + 9})
    assert etag(later) == etag(job)


async def test_the_etag_changes_with_the_place_in_the_queue_and_with_the_state(store: Store) -> None:
    job = await looked_at(store)
    others = [
        with_queue(job, position=7),
        with_queue(job, pages_ahead=7),
        job.model_copy(update={"status": JobStatus.FAILED}),
    ]
    assert len({etag(other) for other in [job, *others]}) == 4
