"""The store: jobs, pages and events in Redis. The gateway's half and what both sides read.

The record is the truth; Celery's message is a hint that a job may be ready. Every change is one Lua script of
``shared/lua`` with Redis's own clock, so a process may die anywhere and nothing is half done.
Every method raises ``StoreUnavailable`` when Redis cannot serve.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final, NamedTuple

from pydantic import TypeAdapter
from ulid import ULID

from shared import log
from shared.contract.events import JobDone, JobEvent, parse_event
from shared.contract.job import JobFailure, NewJob, Queue, StoredJob, read_job, record_fields
from shared.contract.states import TERMINAL_STATUSES, JobStatus
from shared.contract.worker_status import WorkerStatus
from shared.errors import (
    AlreadyFinished,
    IdempotencyMismatch,
    NotFound,
    RateLimited,
    StoreFull,
    StoreUnavailable,
)
from shared.payloads.base import PayloadStore
from shared.payloads.names import upload_name
from shared.payloads.opening import open_payloads
from shared.settings import StoreSettings
from shared.store import keyspace
from shared.store.admission import Admission
from shared.store.batches import BatchStore, StoredBatch
from shared.store.connect import Client, store_errors
from shared.store.keyspace import RANKS
from shared.store.message import Described, celery_message
from shared.store.queue_stats import QueueStats, per_second
from shared.store.results import ResultReader
from shared.store.running_reader import RunningReader
from shared.store.scripts import Hash, Scripts
from shared.store.upload import named, with_password

logger = logging.getLogger(__name__)

LIST_CHUNK = 500
"""Ids of a list that are looked at in one step."""
UPLOAD_IN_RECORD = 64 * 1024
"""Bytes of the largest upload that lies in Redis although there is a payload store."""
CURSOR = re.compile(r"([0-9]{1,12}\.[0-9]{1,9})-([0-9A-HJKMNP-TV-Z]{26})")
MAX_SCAN = 2000
"""Jobs that one page of a filtered list looks at."""
LOOKUPS = 20
"""Jobs that are looked up side by side: a list must not take every connection of a gateway."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """``replayed``: the Idempotency-Key was seen before with the same payload, and this is that job.

    ``cached``: it was made of an earlier job's result. ``job``: as it was taken in; None where that was earlier.
    """

    job_id: str
    replayed: bool
    cached: bool = False
    view: bytes | None = field(default=None, repr=False)

    @property
    def job(self) -> StoredJob | None:
        return None if self.view is None else _viewed(self.view)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One entry of a job's stream: Redis's id, and the event. ``name`` is its own also when the event is unknown."""

    id: str
    name: str
    event: JobEvent


class ListPosition(NamedTuple):
    """Where a job stands in its owner's list; as text, a cursor."""

    moment: float
    job_id: str

    def __str__(self) -> str:
        return f"{self.moment!r}-{self.job_id}"

    @classmethod
    def of(cls, cursor: str | None) -> ListPosition:
        if cursor is None:
            return cls(math.inf, "")
        if (found := CURSOR.fullmatch(cursor)) is None:
            raise NotFound("There is no such cursor")
        return cls(float(found[1]), found[2])


class Store(ResultReader):
    """What the gateway asks of Redis and the payload store. ``owner`` is the caller's key id, else ``anonymous``."""

    def __init__(self, redis: Client, settings: StoreSettings) -> None:
        super().__init__(redis, open_payloads(settings.payloads_url))
        self.settings = settings
        self.scripts = Scripts(redis)
        self.batches = BatchStore(redis, settings)
        self.stats = QueueStats(redis, settings)
        self.admission = Admission(redis, self.payloads, settings, self.stats)
        self._reader = RunningReader(self.workers)

    # -- jobs

    async def submit(
        self, new: NewJob, upload: bytes | BinaryIO, fingerprint: str = "", password: str | None = None, *,
        cache: bool = False,
    ) -> Submitted:  # fmt: skip
        """Store upload, record, queue entry and first event in one step, or nothing. ``password``: a PDF's.

        A large upload is a payload, stored first, in pieces where it is given as a file. ``cache``: where a result of
        the same content is kept, the job is made of it, has ended, and is counted by no limit.
        Raises ``QueueFull`` and ``RateLimited`` (with ``retry_after``) beyond a limit, and ``IdempotencyMismatch``.
        """
        await self.admission.refuse_without_room()
        job_id = str(ULID())
        if cache and (reused := await self._reuse(job_id, new, fingerprint)):
            return reused
        size = len(upload) if isinstance(upload, bytes) else new.input.bytes
        payload = upload_name(job_id) if self.payloads is not None and size > UPLOAD_IN_RECORD else ""
        if self.payloads is not None and payload:
            await self._put_upload(self.payloads, payload, upload)
        stored = named(payload, password) if payload else with_password(await _whole(upload), password)
        verdict, value, view = await self._queue(job_id, new, stored, fingerprint, payload=bool(payload))
        if self.payloads is not None and payload and verdict != "ok":
            await self._drop_upload(self.payloads, payload)
        if verdict == "full":
            raise await self.admission.queue_full(value)
        if verdict == "quota":
            raise RateLimited("The pages of this key for today are used up", retry_after=float(value))
        return _submitted(verdict, value, view)

    async def _queue(
        self, job_id: str, new: NewJob, upload: bytes, fingerprint: str, *, payload: bool
    ) -> tuple[str, str, bytes | None]:  # fmt: skip
        """Run ``submit.lua``: its verdict, what belongs to it, and the view of a job that was taken in now."""
        limits = self.settings
        fields = {**self._fields(new), "payloads": "1" if payload else ""}
        return await self._run_submit(
            "submit", job_id, upload, celery_message(job_id, Described.new(new, filename=limits.log_filenames)),
            new.pages, new.input.bytes, RANKS[new.options.priority], new.owner, new.idempotency_key or "", fingerprint,
            limits.idempotency_ttl, new.batch or "", limits.max_queue_jobs, limits.max_queue_pages,
            limits.max_queue_bytes, limits.requeue_after, "" if new.deadline is None else new.deadline, self._horizon,
            "" if new.page_quota is None else new.page_quota, *(part for item in fields.items() for part in item),
        )  # fmt: skip

    async def _reuse(self, job_id: str, new: NewJob, fingerprint: str) -> Submitted | None:
        """Make the job of a result of the same content that every running worker would read; None: there is none."""
        if not new.content or not (reader := await self._reader.digest()):
            return None
        verdict, value, view = await self._run_submit(
            "reuse", job_id, new.content, reader, new.owner, new.idempotency_key or "", fingerprint,
            self.settings.idempotency_ttl, new.batch or "", new.input.bytes, RANKS[new.options.priority], self._horizon,
            *(part for item in self._fields(new).items() for part in item),
        )  # fmt: skip
        return None if verdict == "none" else replace(_submitted(verdict, value, view), cached=verdict == "ok")

    @property
    def _horizon(self) -> int:
        """Seconds after which an owner's list forgets a job."""
        return self.settings.max_job_age + 2 * self.settings.result_ttl

    def _fields(self, new: NewJob) -> dict[str, str | int]:
        """What goes into the record of a submission as it is."""
        limits = self.settings
        return {
            **record_fields(new),
            "result_ttl": limits.result_ttl if new.ttl is None else new.ttl,
            "webhook_ttl": limits.webhook_ttl,
            "picture_ttl": limits.picture_ttl or "",
            "max_age": limits.max_job_age,
        }

    async def _drop_upload(self, payloads: PayloadStore, name: str) -> None:
        with suppress(StoreUnavailable):  # the sweeper does it then
            await payloads.delete([name])

    async def _run_submit(self, script: str, *args: str | bytes | int | float) -> tuple[str, str, bytes | None]:
        try:
            verdict, value, *view = await self.scripts.run(script, *args)
            return verdict.decode(), value.decode(), next(iter(view), None)
        except StoreFull as error:
            raise await self.admission.store_full("Redis has") from error

    async def _put_upload(self, payloads: PayloadStore, name: str, upload: bytes | BinaryIO) -> None:
        if not isinstance(upload, bytes):
            await asyncio.to_thread(upload.seek, 0)
        try:
            await payloads.put(name, upload)
        except StoreFull as error:
            self.admission.payloads_refused()
            raise await self.admission.store_full("The payload store has", uploads=1) from error

    async def job(self, job_id: str, owner: str | None = None, *, pages: bool = True) -> StoredJob:
        """The job with its place in the queue. Raises ``NotFound`` also for another owner's job (None: any).

        ``pages``: with what became of each page, which may be thousands; else ``Job.pages`` is empty.
        """
        view = await self.scripts.run("view", job_id, int(pages))
        job = _viewed(view) if view else None
        if job is None or (owner is not None and job.owner != owner):
            raise NotFound("No such job")
        return job

    async def job_of_key(self, owner: str, key: str) -> StoredJob | None:
        """The job of an Idempotency-Key, without ``pages``; None for a key not seen, or whose job is gone."""
        with store_errors():
            found = await self.redis.hget(keyspace.IDEMPOTENCY(owner, key), "id")
        if found is None:
            return None
        try:
            return await self.job(found.decode(), owner, pages=False)
        except NotFound:
            return None

    async def jobs(
        self, owner: str, *, status: str | None = None, limit: int = 50, cursor: str | None = None,
        keep: Callable[[StoredJob], bool] | None = None,
    ) -> tuple[list[StoredJob], str | None]:  # fmt: skip
        """Newest first, without ``pages``, and the cursor of the next page (None at the end).

        ``keep`` leaves jobs out; after looking at ``MAX_SCAN`` jobs the list ends early, with a cursor to go on.
        Raises ``NotFound`` for a cursor that is none of ours.
        """
        found: list[StoredJob] = []
        last, seen = ListPosition.of(cursor), 0
        async for place, job in self._listed(owner, status, last):
            if len(found) == limit or seen == MAX_SCAN:
                return found, str(last)
            seen += 1
            if keep is None or keep(job):
                found.append(job)
            last = place
        return found, None

    async def _listed(
        self, owner: str, status: str | None, after: ListPosition
    ) -> AsyncIterator[tuple[ListPosition, StoredJob]]:
        while places := await self._places_after(owner, after):
            candidates = {place.job_id: place for place in await self._perhaps(places, status)}
            async for job in self._looked_up(list(candidates), owner):
                if status in (None, job.status):
                    yield candidates[job.id], job
            after = places[-1]

    async def _places_after(self, owner: str, place: ListPosition) -> list[ListPosition]:
        """By moment and id, not by rank: jobs come and go while a list is walked, the one at its cursor too."""
        with store_errors():
            found = await self.redis.zrevrangebyscore(
                keyspace.JOBS_OF_OWNER(owner), place.moment, "-inf", start=0, num=LIST_CHUNK, withscores=True
            )
        return [there for name, score in found if (there := ListPosition(score, name.decode())) < place]

    async def _perhaps(self, places: list[ListPosition], status: str | None) -> list[ListPosition]:
        """Those that may be in this state, looked up in one step; an open job may turn out to be overdue."""
        if status is None:
            return places
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                for place in places:
                    pipe.hget(keyspace.JOB(place.job_id), "status")
                states = await pipe.execute()
        return [
            place
            for place, state in zip(places, states, strict=True)
            if state is not None and (state.decode() == status or state.decode() not in TERMINAL_STATUSES)
        ]

    async def _looked_up(self, ids: Sequence[str], owner: str) -> AsyncIterator[StoredJob]:
        """In their order, without ``pages``; left out: what was deleted or has expired."""
        for at in range(0, len(ids), LOOKUPS):
            some = (self.job(job_id, owner, pages=False) for job_id in ids[at : at + LOOKUPS])
            for found in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(found, StoredJob):
                    yield found
                elif not isinstance(found, NotFound):
                    raise found

    async def cancel(self, job_id: str) -> None:
        """Raises ``AlreadyFinished`` and ``NotFound``. A worker reading it sees the cancel at its next heartbeat."""
        verdict = (await self.scripts.run("cancel", job_id, uuid.uuid4().hex)).decode()
        if verdict == "gone":
            raise NotFound("No such job")
        if verdict == "over":
            raise AlreadyFinished()
        log.event(logger, "job.ended", job=job_id, status=JobStatus.CANCELLED.value)

    async def delete(self, job_id: str) -> None:
        """Cancel if needed, then forget job, upload and result. Nothing happens when there is none."""
        await self.scripts.run("delete", job_id)

    async def jobs_of(self, batch: StoredBatch) -> list[StoredJob]:
        """Those that are still there, without ``pages``."""
        return [job async for job in self._looked_up(batch.job_ids, batch.owner)]

    async def ended_jobs(self, count: int) -> list[StoredJob]:
        """The jobs of all owners that ended last, the latest first, each with what became of its pages."""
        with store_errors():
            found = await self.redis.zrevrange(keyspace.ENDED_JOBS(), 0, count - 1)
        jobs = (self.job(name.decode().rpartition(" ")[2]) for name in found)
        return [job for job in await asyncio.gather(*jobs, return_exceptions=True) if isinstance(job, StoredJob)]

    # -- events

    async def events(self, job_id: str, after: str = "0", count: int = 1000) -> list[StoredEvent]:
        """The stored events later than ``after``, oldest first, at most ``count``.

        Of a job that ended a while ago only ``done`` is left, in its record.
        """
        with store_errors():
            first = f"({after}" if after != "0" else "-"
            entries = await self.redis.xrange(keyspace.EVENTS(job_id), min=first, count=count)
            if entries or await self.redis.exists(keyspace.EVENTS(job_id)):
                return [read_event(entry_id, fields) for entry_id, fields in entries]
            end = await self.redis.hmget(keyspace.JOB(job_id), "done_event", "status", "error")
        done = _done(*(field.decode() if field else "" for field in end))
        return [done] if done is not None and moment(done.id) > moment(after) else []

    # -- the server and the workers

    async def ping(self) -> None:
        with store_errors():
            await self.redis.ping()

    async def workers(self) -> list[WorkerStatus]:
        """The workers that reported in the last ten seconds (``Claims.report``)."""
        with store_errors():
            names = sorted(await self.redis.smembers(keyspace.WORKERS()))
            found = await self.redis.mget([keyspace.WORKER(name.decode()) for name in names]) if names else []
            if silent := [name for name, report in zip(names, found, strict=True) if report is None]:
                await self.redis.srem(keyspace.WORKERS(), *silent)
        return [WorkerStatus.model_validate_json(report) for report in found if report]


def _submitted(verdict: str, job_id: str, view: bytes | None) -> Submitted:
    if verdict == "mismatch":
        raise IdempotencyMismatch()
    return Submitted(job_id, verdict == "replay", view=view)


async def _whole(upload: bytes | BinaryIO) -> bytes:
    if isinstance(upload, bytes):
        return upload
    await asyncio.to_thread(upload.seek, 0)
    return await asyncio.to_thread(upload.read)


def read_event(entry_id: bytes, fields: Mapping[bytes, bytes]) -> StoredEvent:
    name = fields[b"event"].decode()
    return StoredEvent(entry_id.decode(), name, parse_event(name, fields[b"data"]))


def moment(event_id: str) -> tuple[int, int]:
    """A stream id in comparable form: ``"5-1"`` -> ``(5, 1)``."""
    ms, _, seq = event_id.partition("-")
    return int(ms), int(seq or 0)


def _done(event_id: str, status: str, error: str) -> StoredEvent | None:
    """A job's last event, by its record; None for a job that has not ended, or of a version before."""
    if not event_id:
        return None
    failure = JobFailure.model_validate_json(error) if error else None
    return StoredEvent(event_id, JobDone.name, JobDone.model_validate({"status": status, "error": failure}))


class View(NamedTuple):
    """What ``viewed.lua`` answers. ``pages_ended``: of the last minute, and the seconds in which they were read."""

    record: Hash
    summaries: Hash
    position: int
    pages_ahead: int
    pages_unfinished: int
    running: int
    pages_ended: int
    reading_seconds: float
    now: float


VIEW: Final = TypeAdapter(View)


def _viewed(view: bytes) -> StoredJob:
    record, marks, position, ahead, pages_open, running, ended, busy, now = VIEW.validate_json(view)
    job = read_job(record, marks, None, now)
    if job.finished:
        return job
    rate = per_second(ended, busy)
    # Running jobs share the engine page by page: this one's pages take as many turns as there are jobs.
    turns = min(pages_open, ahead + job.progress.pages_left * max(1, running))
    queue = Queue(position=position, pages_ahead=ahead, eta_seconds=round(turns / rate, 1) if rate else None)
    return job.model_copy(update={"queue": queue})
