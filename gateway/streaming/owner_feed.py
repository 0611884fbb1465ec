"""One stream of events for all jobs of one owner: a browser allows six connections to a host, not one per job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from gateway.streaming import sse
from gateway.streaming.event_hub import Hub
from shared.contract.events import JobDone, PageText
from shared.errors import NotFound, StoreUnavailable
from shared.store import keyspace
from shared.store.connect import store_errors
from shared.store.jobs import Store

POLL_SECONDS: Final = 1.0  # how soon a new or deleted job is noticed
MAX_JOBS: Final = 500  # the newest jobs, whose events are sent
QUEUED_MESSAGES: Final = 2000
JOB_PATIENCE_SECONDS: Final = 15.0

Message = tuple[str, str, dict[str, Any]]
"""Job id, event name, data."""


class OwnerFeed:
    """Events of the owner's jobs from now on, without their text; ``deleted`` when a job is gone from the list."""

    def __init__(self, store: Store, hub: Hub, owner: str) -> None:
        self._store, self._hub, self._owner = store, hub, owner
        self._known: dict[str, float] | None = None  # until the first look
        self._looked = 0.0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUED_MESSAGES)

    async def messages(self) -> AsyncIterator[str]:
        """Until the client leaves or the gateway stops."""
        try:
            await self._look()
            written = time.monotonic()
            yield "retry: 3000\n" + sse.PING  # after the first look: what happens from here on is sent
            while not self._hub.closed:
                for message in (*await self._look(), *await self._waiting()):
                    written = time.monotonic()
                    yield _written(message)
                if time.monotonic() - written >= sse.PING_SECONDS:
                    written = time.monotonic()
                    yield sse.PING
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _waiting(self) -> list[Message]:
        """What the followers have queued, waiting a little for the first message."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                messages = [await self._queue.get()]
        except TimeoutError:
            return []
        while not self._queue.empty():
            messages.append(self._queue.get_nowait())
        return messages

    async def _look(self) -> list[Message]:
        """Once in ``POLL_SECONDS``: follow what is new in the owner's list; a message for what is gone from it.

        The messages are returned, not queued: whoever calls this is the one who empties the queue.
        """
        if time.monotonic() - self._looked < POLL_SECONDS:
            return []
        self._looked = time.monotonic()
        try:
            listed = await self._listed()
            if self._known is None:
                open_jobs, _ = await self._store.jobs(self._owner, limit=MAX_JOBS)
                self._follow_all((job.id for job in open_jobs if not job.finished and job.id in listed), None)
        except StoreUnavailable:
            return []  # the next look comes soon; new jobs are followed from their start
        known, self._known = self._known if self._known is not None else listed, listed
        self._follow_all(listed.keys() - known.keys(), "0")
        oldest = min(listed.values(), default=0.0) if len(listed) == MAX_JOBS else 0.0
        return [(job_id, "deleted", {}) for job_id, at in known.items() if job_id not in listed and at > oldest]

    async def _listed(self) -> dict[str, float]:
        """The owner's newest jobs and when they were submitted."""
        key = keyspace.JOBS_OF_OWNER(self._owner)
        with store_errors():
            newest = await self._store.redis.zrevrange(key, 0, MAX_JOBS - 1, withscores=True)
        return {job_id.decode(): at for job_id, at in newest}

    def _follow_all(self, job_ids: Iterable[str], after: str | None) -> None:
        for job_id in job_ids:
            task = asyncio.get_running_loop().create_task(self._follow(job_id, after), name=job_id)
            self._tasks[job_id] = task
            task.add_done_callback(lambda done: self._tasks.pop(done.get_name(), None))

    async def _is_open(self, job_id: str) -> bool:
        try:
            return not (await self._store.job(job_id, self._owner, pages=False)).finished
        except NotFound:
            return False

    async def _follow(self, job_id: str, after: str | None) -> None:
        while not self._hub.closed:
            try:
                async with self._hub.follow(job_id, after) as reader:
                    while not self._hub.closed:
                        for stored in await reader.next(JOB_PATIENCE_SECONDS):
                            if not isinstance(stored.event, PageText):
                                await self._queue.put((job_id, stored.name, stored.event.payload()))
                            if isinstance(stored.event, JobDone):
                                return
                        after = reader.position
                        if not await self._is_open(job_id):
                            return
            except StoreUnavailable:
                await asyncio.sleep(POLL_SECONDS)


def _written(message: Message) -> str:
    job_id, name, data = message
    return sse.message({"job": job_id, "event": name, "data": data}, name)
