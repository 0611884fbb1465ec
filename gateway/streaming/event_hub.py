"""One blocked XREAD per process, shared by all that wait: event streams, long polls and the original API.

A reader starts from Redis (``XRANGE`` after its id) and continues from the shared read. Its queue is bounded: a reader
that is too slow loses the queue, not the events, and reads them from Redis by id. An outage of Redis loses nothing
either: positions are stream ids, so the next read continues where the last one ended.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.streaming import sse
from shared.contract.events import StatusChanged
from shared.contract.states import JobStatus
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.jobs import Store, StoredEvent, moment, read_event

BLOCK_MS: Final = 1_000
READ_PAUSE_SECONDS: Final = 0.01  # between two shared reads, so that one read collects the events of many streams
MAX_QUEUED_EVENTS: Final = 256  # events a reader may be behind before it has to read from Redis
EVENTS_PER_READ: Final = 500
MAX_KEPT_TEXTS: Final = 1024  # events as they are sent, of all jobs together


def first_of_all(event: StoredEvent) -> bool:
    """Whether this is the first event of every job's stream: nothing has been trimmed before it."""
    return event.event == StatusChanged(status=JobStatus.QUEUED)


class EventReader:
    """One follower of one job's stream, at ``position``. ``missed`` is set when events before it were trimmed away."""

    def __init__(self, store: Store, job_id: str, position: str, *, behind: bool) -> None:
        self._store = store
        self._job_id = job_id
        self.position = position
        self.missed = False
        self._behind = behind
        self._queue: deque[StoredEvent] = deque()
        self._arrived = asyncio.Event()

    def offer(self, event: StoredEvent) -> None:
        """Called by the hub; never waits."""
        if len(self._queue) >= MAX_QUEUED_EVENTS:
            self._queue.clear()
            self._behind = True
        if not self._behind:
            self._queue.append(event)
        self._arrived.set()

    def wake(self) -> None:
        self._arrived.set()

    async def next(self, seconds: float) -> list[StoredEvent]:
        """The events after ``position``, waiting at most ``seconds`` for one; empty when there was none."""
        if not self._behind and not self._queue:
            await self._wait(seconds)
        self._arrived.clear()
        events = await self._catch_up() if self._behind else self._drain()
        fresh = [event for event in events if moment(event.id) > moment(self.position)]
        if fresh:
            self.position = fresh[-1].id
        return fresh

    async def rest(self) -> list[StoredEvent]:
        """All that Redis has after ``position``: of a job that has ended, though nothing was heard of it."""
        found: list[StoredEvent] = []
        self._behind = True
        while more := await self.next(0):
            found += more
            self._behind = True
        return found

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

    def _drain(self) -> list[StoredEvent]:
        events = list(self._queue)
        self._queue.clear()
        return events

    async def _catch_up(self) -> list[StoredEvent]:
        """Read the next events from Redis. Events offered meanwhile queue up, so that none is lost in between."""
        self._behind = False
        try:
            events = await self._store.events(self._job_id, self.position, EVENTS_PER_READ)
            self.missed = self.missed or await self._trimmed()
        except BaseException:
            self._behind = True
            raise
        if len(events) == EVENTS_PER_READ:
            self._behind = True
            self._queue.clear()
        return events

    async def _trimmed(self) -> bool:
        """Asked after reading: whether an event later than ``position`` may be gone."""
        first = await self._store.events(self._job_id, count=1)
        return bool(first) and moment(first[0].id) > moment(self.position) and not first_of_all(first[0])


class FollowedStream:
    """A stream with readers, and how far it has been read."""

    def __init__(self, position: str) -> None:
        self.position = position
        self.readers: set[EventReader] = set()


class Hub:
    """``client`` is a connection for the blocked read alone; ``store`` does the rest."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._watched: dict[str, FollowedStream] = {}
        self._wake_key, self._wake_id = keyspace.WAKE(secrets.token_hex(8)), "0-0"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._texts: dict[tuple[str, str], str] = {}
        self.closed = False

    def text_of(self, job_id: str, stored: StoredEvent) -> str:
        """An event as it is sent, written once for all who follow the job."""
        key = (job_id, stored.id)
        if (text := self._texts.get(key)) is None:
            if len(self._texts) >= MAX_KEPT_TEXTS:
                self._texts.clear()
            text = self._texts[key] = sse.message(stored.event.payload(), stored.name, stored.id)
        return text

    @asynccontextmanager
    async def follow(self, job_id: str, after: str | None) -> AsyncIterator[EventReader]:
        """Follow a job's events: those after the id ``after`` ("0": all), or with None only those to come."""
        watched = self._watched.get(job_id)
        if watched is None:
            watched = self._watched.setdefault(job_id, FollowedStream(await self._last_id(job_id)))
        reader = EventReader(
            self._store, job_id, watched.position if after is None else after, behind=after is not None
        )
        watched.readers.add(reader)
        try:
            await self._wake_read()
            yield reader
        finally:
            watched.readers.discard(reader)
            if not watched.readers and self._watched.get(job_id) is watched:
                del self._watched[job_id]

    def close(self) -> None:
        """Wake every reader a last time, so that it can end."""
        self.closed = True
        for watched in self._watched.values():
            for reader in watched.readers:
                reader.wake()

    def close_soon(self) -> None:
        """``close`` from a signal handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.close)

    async def step(self) -> None:
        """One shared read; done over and over as long as the gateway lives."""
        self._loop = asyncio.get_running_loop()
        await self._read()
        await asyncio.sleep(READ_PAUSE_SECONDS)

    async def _read(self) -> None:
        keys = {keyspace.EVENTS(job_id): watched.position for job_id, watched in self._watched.items()}
        with store_errors():
            reply = await self._client.xread(
                {self._wake_key: self._wake_id, **keys}, count=MAX_QUEUED_EVENTS, block=BLOCK_MS
            )
        for key, entries in reply or []:
            if key.decode() == self._wake_key:
                self._wake_id = entries[-1][0].decode()
            else:
                self._deliver(key.decode().removeprefix(keyspace.EVENTS("")), entries)

    def _deliver(self, job_id: str, entries: list[Any]) -> None:
        watched = self._watched.get(job_id)
        if watched is None:
            return
        for entry_id, fields in entries:
            event = read_event(entry_id, fields)
            if moment(event.id) <= moment(watched.position):
                continue  # the stream was dropped and followed again meanwhile
            watched.position = event.id
            for reader in watched.readers:
                reader.offer(event)

    async def _last_id(self, job_id: str) -> str:
        with store_errors():
            entries = await self._store.redis.xrevrange(keyspace.EVENTS(job_id), count=1)
        return entries[0][0].decode() if entries else "0-0"

    async def _wake_read(self) -> None:
        """End the blocked read, so that the next one includes the new stream."""
        with store_errors():
            await self._store.redis.xadd(self._wake_key, {"new": "1"}, maxlen=1, approximate=False)
            await self._store.redis.expire(self._wake_key, 3600)
