"""What an operator asks of the store: all unfinished jobs, usage by owner and day, webhooks that were given up.

Every method raises ``StoreUnavailable`` when Redis cannot serve.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from shared.contract.job import StoredJob
from shared.contract.options import Priority
from shared.contract.states import WebhookStatus
from shared.contract.worker_status import WorkerStatus
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.connect import store_errors
from shared.store.jobs import Store
from shared.store.message import Described, celery_message
from shared.store.webhooks import WebhookState, WebhookStore

DAY_SECONDS: Final = 86400
CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which unfinished jobs are meant; None stands for any. ``older``: seconds since the submission."""

    owner: str | None = None
    status: str | None = None
    priority: str | None = None
    batch: str | None = None
    older: float | None = None
    ids: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether it leaves anything out."""
        return self != QueueFilter()

    def keeps(self, job: StoredJob) -> bool:
        wanted = (self.owner, self.status, self.priority, self.batch)
        its = (job.owner, job.status.value, job.options.priority.value, job.batch)
        if any(want is not None and want != found for want, found in zip(wanted, its, strict=True)):
            return False
        if self.older is not None and job.seen_at - job.created_at < self.older:
            return False
        return not self.ids or job.id in self.ids


@dataclass(frozen=True, slots=True)
class OwnerUsage:
    """What an owner used on one day (UTC, ``YYYY-MM-DD``): ``counts`` of jobs, pages, bytes, tokens."""

    day: str
    owner: str
    counts: dict[str, int] = field(default_factory=dict)


class Administration:
    def __init__(self, store: Store, webhooks: WebhookStore) -> None:
        self._store, self._webhooks = store, webhooks

    # -- the queue

    async def unfinished(self, wanted: QueueFilter) -> list[StoredJob]:
        """The oldest first, without ``pages``."""
        with store_errors():
            names = await self._store.redis.zrange(keyspace.NEXT_CHECK(), 0, -1)
        found = [job async for job in self._jobs([name.decode() for name in names])]
        return sorted((job for job in found if wanted.keeps(job)), key=lambda job: job.created_at)

    async def _jobs(self, ids: list[str]) -> AsyncIterator[StoredJob]:
        for job_id in ids:
            try:
                job = await self._store.job(job_id, pages=False)
            except NotFound:
                continue
            if not job.finished:
                yield job

    async def requeue(self, job: StoredJob) -> bool:
        """Have a worker look at the job at once: a message that was lost is sent again. Changes nothing else."""
        with store_errors():
            now = (await self._store.redis.time())[0]
            await self._store.redis.zadd(keyspace.NEXT_CHECK(), {job.id: now}, xx=True)
        return True

    async def reprioritise(self, job: StoredJob, priority: Priority) -> bool:
        """Whether the job waits and now has this priority."""
        described = Described.job(job, filename=self._store.settings.log_filenames)
        message = celery_message(job.id, described)
        rank = keyspace.RANKS[priority]
        return bool(await self._store.scripts.run("reprioritise", job.id, rank, priority.value, message))

    # -- workers

    async def worker(self, name: str) -> WorkerStatus:
        """The worker of this name that reports. Raises ``NotFound``."""
        found = next((worker for worker in await self._store.workers() if worker.name == name), None)
        if found is None:
            raise NotFound(f"No worker {name} reports")
        return found

    async def drain(self, name: str) -> None:
        """Have a worker begin no further page and give its jobs back, until ``resume``. Raises ``NotFound``.

        It obeys with its next report, within seconds. The order holds for the process that has the name now.
        """
        started_at = repr((await self.worker(name)).started_at)
        with store_errors():
            await self._store.redis.set(keyspace.DRAIN(name), started_at, ex=keyspace.DRAIN_SECONDS)

    async def resume(self, name: str) -> None:
        """Take the order to drain back. Raises ``NotFound``."""
        await self.worker(name)
        with store_errors():
            await self._store.redis.delete(keyspace.DRAIN(name))

    # -- usage

    async def usage(self, days: int, owner: str | None = None) -> list[OwnerUsage]:
        """Of the last days, today included, the latest first."""
        today, found = int(time.time() // DAY_SECONDS), []
        for day in range(today, today - days, -1):
            with store_errors():
                fields = await self._store.redis.hgetall(keyspace.USAGE(day))
            counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
            for name, value in fields.items():
                its_owner, _, what = name.decode().rpartition("|")
                counts[its_owner][what] = int(value)
            date = time.strftime("%Y-%m-%d", time.gmtime(day * DAY_SECONDS))
            found += [OwnerUsage(date, its, counts[its]) for its in sorted(counts) if owner in (None, its)]
        return found

    # -- webhooks

    async def given_up(self, owner: str | None = None, url: str = "") -> list[tuple[str, WebhookState]]:
        """``(job id, webhook)`` of those that are exhausted or gone, of ended jobs that are still kept.

        ``url``: how the receiver's begins.
        """
        with store_errors():
            ended = await self._store.redis.zrevrange(keyspace.ENDED_JOBS(), 0, -1)
        found = []
        for entry in ended:
            its_owner, _, job_id = entry.decode().rpartition(" ")
            if owner not in (None, its_owner):
                continue
            for webhook in await self._webhooks.webhooks(job_id):
                dead = webhook.status in (WebhookStatus.EXHAUSTED, WebhookStatus.GONE)
                if dead and webhook.url.startswith(url):
                    found.append((job_id, webhook))
        return found
