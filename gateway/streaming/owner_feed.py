"""One stream of events for all jobs of one owner: a browser allows six connections to a host, not one per job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
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
        self._known: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUED_MESSAGES)

    async def messages(self) -> AsyncIterator[str]:
        """Until the client leaves or the gateway stops."""
        written = time.monotonic()
        yield "retry: 3000\n" + sse.PING
        try:
            await self._look(first=True)
            looked = time.monotonic()
            while not self._hub.closed:
                async for message in self._waiting():
                    written = time.monotonic()
                    yield message
                if time.monotonic() - looked >= POLL_SECONDS:
                    looked = time.monotonic()
                    await self._look_again()
                if time.monotonic() - written >= sse.PING_SECONDS:
                    written = time.monotonic()
                    yield sse.PING
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _waiting(self) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                message = await self._queue.get()
        except TimeoutError:
            return
        yield _written(message)
        while not self._queue.empty():
            yield _written(self._queue.get_nowait())

    async def _look_again(self) -> None:
        try:
            await self._look(first=False)
        except StoreUnavailable:
            return  # the next look comes in a second; nothing is missed, since jobs are followed from their start

    async def _look(self, *, first: bool) -> None:
        """Follow what is new in the owner's list, and report what is gone from it."""
        with store_errors():
            newest = await self._store.redis.zrevrange(
                keyspace.JOBS_OF_OWNER(self._owner), 0, MAX_JOBS - 1, withscores=True
            )
        listed = {job_id.decode(): score for job_id, score in newest}
        oldest = min(listed.values(), default=0.0)
        for job_id, score in list(self._known.items()):
            if job_id not in listed:
                del self._known[job_id]
                if score > oldest or len(listed) < MAX_JOBS:
                    await self._queue.put((job_id, "deleted", {}))
        for job_id in listed.keys() - self._known.keys():
            self._known[job_id] = listed[job_id]
            if first and not await self._is_open(job_id):
                continue
            task = asyncio.get_running_loop().create_task(self._follow(job_id, None if first else "0"))
            self._tasks[job_id] = task
            task.add_done_callback(lambda _, job_id=job_id: self._tasks.pop(job_id, None))  # type: ignore[misc]

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
