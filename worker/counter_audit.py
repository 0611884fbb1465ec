"""The audit of the counters: the sums that admission, queue places and /metrics rest on, taken again from the records.

Every script changes a job and the counters in one step, so they agree. Should they not (a bug, a hand in the store, two
versions at once), a wrong counter stays wrong for ever: submissions are refused by jobs that are long gone. One worker
at a time reads all unfinished jobs, a few at each step, and has the store mend what differs, if nothing has moved
meanwhile. What was mended is counted (``drift:COUNTER``) and logged.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.scripts import Scripts

logger = logging.getLogger(__name__)

AUDIT_SECONDS = 60
TRIES = 5
JOBS_AT_ONCE = 100
PLACES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class UnfinishedJob:
    """What of a job's record the counters are made of. ``pages``: those that have not ended."""

    id: str
    rank: str
    bytes: int
    pages: int
    queued: bool
    pages_before: int


@dataclass(slots=True)
class Sums:
    """What the records add up to."""

    pages: int = 0
    bytes: int = 0
    pages_of_rank: Counter[str] = field(default_factory=Counter)
    misfiled: list[str] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)


class CounterAudit:
    def __init__(self, redis: Client, worker: str) -> None:
        self._redis, self._worker = redis, worker
        self._scripts = Scripts(redis)

    async def run(self) -> dict[str, int] | None:
        """Audit once, unless a worker did in the last minute: what was mended, by how much.

        None: it was another's turn, or there was never a moment in which nothing moved. Raises ``StoreUnavailable``.
        """
        with store_errors():
            if not await self._redis.set(keyspace.AUDIT(), self._worker, nx=True, ex=AUDIT_SECONDS):
                return None
        for _ in range(TRIES):
            mended = await self._once()
            if mended is not None:
                if mended:
                    logger.error("counters were wrong and have been mended: %s", mended)
                return mended
        return None

    async def _once(self) -> dict[str, int] | None:
        counted = await self._counters()
        with store_errors():
            waiting = [await self._redis.zrange(keyspace.WAITING(rank), 0, -1) for rank in keyspace.RANKS.values()]
        seen = {name.decode(): int(value) for name, value in counted.items()}
        in_line = [job_id.decode() for ids in waiting for job_id in ids]
        found: dict[str, UnfinishedJob | None] = {}
        async for some in self._unfinished():
            if found and await self._counters() != counted:
                return None  # something has moved: of a long queue on a busy service, the rest need not be read
            found |= some
        sums = add_up(found, in_line, seen)
        reply = await self._scripts.run(
            "audit", self._worker, uuid.uuid4().hex, json.dumps(seen), sums.pages, sums.bytes,
            json.dumps({rank: sums.pages_of_rank[rank] for rank in keyspace.RANKS.values()}),
            json.dumps(sums.misfiled), json.dumps(dict(islice(sums.before.items(), PLACES_AT_ONCE))),
        )  # fmt: skip
        if reply[0] != b"mended":
            return None
        return {reply[i].decode(): int(reply[i + 1]) for i in range(1, len(reply), 2)}

    async def _counters(self) -> dict[bytes, bytes]:
        with store_errors():
            counted: dict[bytes, bytes] = await self._redis.hgetall(keyspace.COUNTERS())
        return counted

    async def _unfinished(self) -> AsyncIterator[dict[str, UnfinishedJob | None]]:
        """A few at a time."""
        with store_errors():
            ids = await self._redis.zrange(keyspace.NEXT_CHECK(), 0, -1)
        for at in range(0, len(ids), JOBS_AT_ONCE):
            names = [job_id.decode() for job_id in ids[at : at + JOBS_AT_ONCE]]
            lines = await self._scripts.run("audit_read", *names)
            yield {name: _read(name, line.decode()) for name, line in zip(names, lines, strict=True)}


def _read(job_id: str, line: str) -> UnfinishedJob | None:
    """One line of ``audit_read``; None for what is not unfinished."""
    if not line:
        return None
    rank, *numbers = line.split(" ")
    size, pages, queued, before = map(int, numbers)
    return UnfinishedJob(job_id, rank, size, pages, queued == 1, before)


def add_up(found: Mapping[str, UnfinishedJob | None], in_line: Sequence[str], seen: Mapping[str, int]) -> Sums:
    """The sums of the unfinished jobs. ``found``: what is listed as unfinished, None where it is not.

    ``in_line``: ids of those that are listed as waiting, in their order; ``seen``: the counters.
    """
    sums = Sums()
    jobs = {job_id: job for job_id, job in found.items() if job is not None}
    for job in jobs.values():
        sums.pages += job.pages
        sums.bytes += job.bytes
        sums.pages_of_rank[job.rank] += job.pages
    queued = {job.id for job in jobs.values() if job.queued}
    sums.misfiled = sorted(queued.symmetric_difference(in_line) | (found.keys() - jobs.keys()))
    if not sums.misfiled:
        submitted = {rank: seen.get(keyspace.Counter.submitted_pages(rank), 0) for rank in keyspace.RANKS.values()}
        finished = {rank: pages - sums.pages_of_rank[rank] for rank, pages in submitted.items()}
        sums.before = wrong_places(jobs, in_line, finished)
    return sums


def wrong_places(
    jobs: Mapping[str, UnfinishedJob], in_line: Sequence[str], finished: Mapping[str, int]
) -> dict[str, int]:
    """The jobs that wait and whose place is wrong, with the right one: all pages before theirs that have not ended.

    ``finished``: pages of each rank that have ended, from which places are counted.
    """
    ahead = dict(finished)
    for job in jobs.values():
        if not job.queued:
            ahead[job.rank] += job.pages
    wrong = {}
    for job in (jobs[job_id] for job_id in in_line):
        if job.pages_before != ahead[job.rank]:
            wrong[job.id] = ahead[job.rank]
        ahead[job.rank] += job.pages
    return wrong
