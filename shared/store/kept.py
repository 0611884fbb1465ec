"""What is kept of finished jobs: how much, by whom, since when; and deleting it by age or owner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from shared.payloads.names import job_of
from shared.store import keyspace
from shared.store.connect import store_errors
from shared.store.jobs import Store

JOBS_AT_ONCE: Final = 500


@dataclass(slots=True)
class KeptByOwner:
    """``payload_bytes``: of their payloads, 0 where results lie in Redis. ``since``: when the eldest ended."""

    owner: str
    jobs: int = 0
    pages: int = 0
    payload_bytes: int = 0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class EndedJob:
    """``ended_at``: seconds since the epoch. ``source``: the job whose payloads its result is, itself or another."""

    id: str
    owner: str
    ended_at: float
    pages: int
    source: str


async def kept_by_owner(store: Store) -> list[KeptByOwner]:
    """Those who keep most first. Looks at every finished job and every payload: for an operator, not for requests."""
    kept: dict[str, KeptByOwner] = {}
    owners: dict[str, str] = {}
    async for job in ended_jobs(store):
        its = kept.setdefault(job.owner, KeptByOwner(job.owner, since=job.ended_at))
        its.jobs += 1
        its.pages += job.pages
        its.since = min(its.since, job.ended_at)
        owners[job.id] = owners[job.source] = job.owner
    for owner, size in (await _payload_bytes(store, owners)).items():
        kept[owner].payload_bytes += size
    return sorted(kept.values(), key=lambda its: (-its.payload_bytes, -its.jobs, its.owner))


async def _payload_bytes(store: Store, owners: dict[str, str]) -> dict[str, int]:
    sizes = defaultdict[str, int](int)
    if store.payloads is not None:
        for folder in await store.payloads.folders():
            async for payload in store.payloads.under(folder):
                if (owner := owners.get(job_of(payload.name))) is not None:
                    sizes[owner] += payload.size
    return sizes


async def delete_kept(store: Store, *, owner: str | None = None, older_than: float = 0.0) -> int:
    """Delete the finished jobs of an owner (None: of all) that ended more than so many seconds ago; how many."""
    with store_errors():
        seconds, micro = await store.redis.time()
    latest = seconds + micro / 1e6 - older_than
    everyone = owner is None
    doomed = [job.id async for job in ended_jobs(store) if (everyone or job.owner == owner) and job.ended_at <= latest]
    for job_id in doomed:
        await store.delete(job_id)
    return len(doomed)


async def ended_jobs(store: Store) -> AsyncIterator[EndedJob]:
    """Every finished job whose record is still there."""
    with store_errors():
        entries = [entry.decode() for entry in await store.redis.zrange(keyspace.ENDED_JOBS(), 0, -1)]
    for at in range(0, len(entries), JOBS_AT_ONCE):
        some = [entry.rpartition(" ") for entry in entries[at : at + JOBS_AT_ONCE]]
        with store_errors():
            async with store.redis.pipeline(transaction=False) as pipe:
                for _, _, job_id in some:
                    pipe.hmget(keyspace.JOB(job_id), "completed", "pages_done", "pages_failed", "source")
                found = await pipe.execute()
        for (owner, _, job_id), (completed, done, failed, source) in zip(some, found, strict=True):
            if completed is not None:
                pages, its = int(done) + int(failed), source.decode() if source else job_id
                yield EndedJob(job_id, owner, float(completed), pages, its)
