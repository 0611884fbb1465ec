"""A worker's side of the store: claims on jobs, fenced by a token. A lost claim is an answer, not an error."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from shared import log
from shared.contract.document import PageResult
from shared.contract.events import JobEvent
from shared.contract.job import JobFailure, PageSummary, StoredJob, read_job
from shared.contract.states import TERMINAL_STATUSES
from shared.contract.worker_status import WorkerStatus
from shared.errors import PayloadMissing
from shared.payloads.names import PICTURE, RESULT, PagePayloads, page_name
from shared.payloads.opening import open_payloads
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.message import MESSAGE_FIELDS, Described, celery_message
from shared.store.results import count_missing
from shared.store.scripts import Hash, Names, Scripts
from shared.store.upload import name_in, parted
from worker.patience import until_served
from worker.settings import WorkerSettings

RESULT_IN_RECORD = 512
"""Bytes of the largest result that lies in Redis although there is a payload store: of a blank or a failed page."""
logger = logging.getLogger(__name__)

TELL_AGAIN_SECONDS = 60
ASKED_SECONDS = 30  # between the 15 s of end_job.lua and what tell_again sets
WORKER_TTL = 10  # seconds a worker's report is believed


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker may work on while its lease is renewed.

    ``ended``: pages that have a result already. ``starts``: page -> times it was begun but did not end. ``steps``
    numbers what is done under it, so that the store knows a step that comes a second time.
    """

    job: StoredJob
    token: str
    ended: frozenset[int] = frozenset()
    starts: dict[int, int] = field(default_factory=dict)
    steps: Iterator[int] = field(default_factory=lambda: itertools.count(1), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands, without its pages. ``status`` is None where there is none. Moments are Redis's."""

    status: str | None
    failure: JobFailure | None = None
    pages_total: int = 0
    pages_done: int = 0
    pages_failed: int = 0
    created_at: float = 0.0
    started_at: float = 0.0
    completed_at: float = 0.0
    request_id: str | None = None

    @property
    def seconds(self) -> float:
        """From the first begin to the end; of a job that nobody began, from its submission."""
        return max(0.0, self.completed_at - (self.started_at or self.created_at))

    @property
    def queue_seconds(self) -> float | None:
        return self.started_at - self.created_at if self.started_at else None

    def asked_for(self, told_next: float) -> bool:
        """Whether ``tell_again`` has sent a message for it: its worker has not told within ``ASKED_SECONDS``."""
        return told_next > self.completed_at + ASKED_SECONDS

    @property
    def code(self) -> str | None:
        """Of its failure."""
        return self.failure.code if self.failure else None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @classmethod
    def of(cls, found: Sequence[bytes | None]) -> Standing:
        """From the values of ``STANDING``."""
        status, error, *numbers, request_id = (value.decode() if value else "" for value in found)
        total, done, failed, created, started, completed = (float(number or 0) for number in numbers)
        failure = JobFailure.model_validate_json(error) if error else None
        pages = (int(total), int(done), int(failed))
        return cls(status or None, failure, *pages, created, started, completed, request_id or None)


STANDING: Final = (
    "status", "error", "pages_total", "pages_done", "pages_failed", "created", "started", "completed", "request_id",
)  # fmt: skip


class Claimed(NamedTuple):
    """What ``claim.lua`` answers. ``ended``: pages. ``starts``: page -> times begun."""

    record: Hash
    ended: Names
    starts: Hash


CLAIMED: Final = TypeAdapter(Claimed)


class Claims:
    def __init__(self, redis: Client, settings: WorkerSettings, worker: str) -> None:
        self.redis = redis
        self.settings = settings
        self.worker = worker
        self.scripts = Scripts(redis)
        self.payloads = open_payloads(settings.payloads_url)

    async def claim(self, job_id: str, token: str) -> Claim | None:
        """Take the job, or None: it is gone, done, or another's. Its message is then of no use."""
        reply = await self.scripts.run("claim", job_id, token, self.worker, self.settings.lease)
        if reply[0] != b"ok":
            return None
        record, ended, starts = CLAIMED.validate_json(reply[1])
        return Claim(
            read_job(record, {}, None, 0.0),
            token,
            frozenset(map(int, ended)),
            {int(n): int(count) for n, count in starts.items() if int(count) > 0},
        )

    async def standing(self, job_id: str) -> Standing:
        """How the job stands now."""
        with store_errors():
            return Standing.of(await self.redis.hmget(keyspace.JOB(job_id), STANDING))

    async def upload(self, job_id: str) -> tuple[memoryview, str | None] | None:
        """The upload's bytes, and the password of a PDF that needs one; None: the job is over.

        Waits for a payload store that is away. Raises ``PayloadMissing``.
        """
        with store_errors():
            found: bytes | None = await self.redis.get(keyspace.UPLOAD(job_id))
        if found is None:
            return None
        if (place := name_in(found)) is None:
            return parted(found)
        name, password = place
        return memoryview(await self._payload(job_id, name)), password

    async def _payload(self, job_id: str, name: str) -> bytes:
        payloads = self.payloads
        try:
            if payloads is None:
                raise PayloadMissing("This worker has no payload store: PAYLOADS_URL is not the gateway's")
            return await until_served(lambda: payloads.get(name), f"job {job_id}")
        except PayloadMissing:
            await count_missing(self.redis)
            raise

    async def start(self, claim: Claim, engine: str, reader: str = "") -> int:
        """The attempt's number, from 1; 0 when the claim is lost. ``reader``: as in ``WorkerStatus``."""
        return int(await self.scripts.run("start", claim.job.id, claim.token, engine, reader))

    async def renew(self, claims: Iterable[Claim]) -> set[str]:
        """Renew every lease at once; the ids of the jobs that are no longer ours."""
        held = [part for claim in claims for part in (claim.job.id, claim.token)]
        lost = await self.scripts.run("renew", self.settings.lease, *held) if held else []
        return {job_id.decode() for job_id in lost}

    async def page_start(self, claim: Claim, number: int, render_seconds: float | None = None) -> int:
        """How often this page has been begun, this time included; 0 when the claim is lost."""
        rendered = "" if render_seconds is None else round(render_seconds, 6)
        return int(await self.scripts.run("page_start", claim.job.id, claim.token, number, next(claim.steps), rendered))

    async def page_stop(self, claim: Claim, number: int, *, forgive: bool) -> None:
        """The page goes back unread. ``forgive``: its start does not count against it."""
        await self.scripts.run("page_stop", claim.job.id, claim.token, number, next(claim.steps), int(forgive))

    async def page_end(
        self, claim: Claim, page: PageResult, picture: bytes | None = None, figures: Sequence[tuple[str, bytes]] = ()
    ) -> bool:
        """Store a page's result and its event; a second result for the same page is dropped. False: claim lost.

        Payloads first: should this worker die before the record names them, they are orphans and nothing is missing.
        """
        result: str = page.model_dump_json()
        its = await self._put(claim, page.number, result.encode(), picture, figures)
        if its is not None:
            result, picture, figures = "" if its.result else result, None, ()
        summary = PageSummary(**page.model_dump(include=set(PageSummary.model_fields)))
        usage = page.usage
        reply = await self.scripts.run(
            "page_end", claim.job.id, claim.token, page.number, next(claim.steps), page.status.value,
            result, summary.model_dump_json(), str(its or ""), picture or b"", usage.prompt_tokens,
            usage.completion_tokens, usage.engine_seconds,
            *(part for figure in figures for part in figure),
        )  # fmt: skip
        return bool(reply)

    async def _put(
        self, claim: Claim, number: int, result: bytes, picture: bytes | None, figures: Sequence[tuple[str, bytes]]
    ) -> PagePayloads | None:
        """Store what is large of a page, and wait for the payload store. None: everything goes into the record."""
        payloads = self.payloads
        if payloads is None or (len(result) <= RESULT_IN_RECORD and picture is None and not figures):
            return None
        its = PagePayloads(claim.token, len(result) > RESULT_IN_RECORD, picture is not None)
        parts = dict(figures) | ({RESULT: result} if its.result else {}) | ({PICTURE: picture} if picture else {})
        named = {page_name(claim.job.id, claim.token, number, part): data for part, data in parts.items()}
        while True:
            began = monotonic()
            await until_served(lambda: payloads.put_all(named), f"page {number} of {claim.job.id}")
            # Parts that waited long for the last of them may have been swept up as orphans: then all of them again.
            if monotonic() - began < self.settings.payload_orphan_age / 2:
                return its

    async def stream(self, claim: Claim, events: Sequence[JobEvent]) -> bool:
        """Append events to the job's stream. False: the claim is lost."""
        flat = [part for event in events for part in (event.name, event.model_dump_json(exclude_unset=True))]
        return bool(await self.scripts.run("stream", claim.job.id, claim.token, next(claim.steps), *flat))

    async def finish(self, claim: Claim) -> str:
        """End the job by what its pages say: its last status, ``incomplete``, or empty when the claim is lost."""
        return str((await self.scripts.run("finish", claim.job.id, claim.token)).decode())

    async def fail(self, claim: Claim, code: str, detail: str) -> None:
        await self.scripts.run("fail", claim.job.id, claim.token, code, detail)

    async def release(self, claim: Claim, *, forgive: bool = True) -> None:
        """Give the job back to the front of the queue, as this worker stops. ``forgive``: as for ``page_stop``."""
        described = Described.job(claim.job, filename=self.settings.log_filenames)
        message, after = celery_message(claim.job.id, described), self.settings.requeue_after
        await self.scripts.run("release", claim.job.id, claim.token, message, after, int(forgive))

    async def reap(self, most: int = 100) -> int:
        """Put back what dead workers held, resend what was never claimed, end what is overdue; how many.

        Also takes jobs whose records have expired off their owners' lists.
        """
        with store_errors():
            seconds, micro = await self.redis.time()
            now = seconds + micro / 1e6
            due = await self.redis.zrangebyscore(keyspace.NEXT_CHECK(), "-inf", now, start=0, num=most)
        await self._tell_again(now, most)
        verdicts = [await self._reap(job_id.decode()) for job_id in due]
        await self.scripts.run("sweep")
        return sum(verdict != b"" for verdict in verdicts)

    async def _tell_again(self, now: float, most: int) -> None:
        """Have a worker tell of jobs whose end nobody has told: their worker died, or their message was lost."""
        with store_errors():
            silent = await self.redis.zrangebyscore(keyspace.UNTOLD(), "-inf", now, start=0, num=most)
        for name in silent:
            job_id = name.decode()
            await self.scripts.run("tell_again", job_id, celery_message(job_id), TELL_AGAIN_SECONDS)

    async def told_next(self, job_id: str) -> float | None:
        """When a worker is to be asked to tell how this job ended; None: it has not ended, or has been told of."""
        with store_errors():
            found: float | None = await self.redis.zscore(keyspace.UNTOLD(), job_id)
        return found

    async def told(self, job_ids: Sequence[str]) -> None:
        """Log and events have told how these jobs ended."""
        with store_errors():
            await self.redis.zrem(keyspace.UNTOLD(), *job_ids)

    async def _reap(self, job_id: str) -> bytes:
        with store_errors():
            found = await self.redis.hmget(keyspace.JOB(job_id), *MESSAGE_FIELDS, "token", "worker", "request_id")
        *described, token, worker, request_id = (value.decode() if value else "" for value in found)
        message = celery_message(job_id, Described.of(described, filename=self.settings.log_filenames))
        verdict: bytes = await self.scripts.run(
            "reap", job_id, message, self.settings.requeue_after, uuid.uuid4().hex
        )  # fmt: skip
        with log.scope(job=job_id, request_id=request_id or None):
            await self._log_reaped(job_id, verdict, token, worker)
        return verdict

    async def _log_reaped(self, job_id: str, verdict: bytes, token: str, worker: str) -> None:
        if verdict == b"ended":
            standing = await self.standing(job_id)
            log.event(logger, "job.ended", status=standing.status, code=standing.code)
        elif verdict == b"requeued" and token:
            log.event(logger, "lease.lost", logging.WARNING, lost_by=worker)
        elif verdict == b"requeued":
            log.event(logger, "message.sent_again")

    async def engine_started(self) -> None:
        """Count that this worker's engine has become ready."""
        await self.scripts.run("engine_started", self.worker)

    async def report(self, status: WorkerStatus) -> bool:
        """Tell the gateways about this worker and its engine; believed for ten seconds.

        Returns whether the worker is to drain. The order was given to one process: it does not hold for another that
        has its name, as a container's next process has.
        """
        with store_errors():
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.set(keyspace.WORKER(self.worker), status.model_dump_json(), ex=WORKER_TTL)
                pipe.sadd(keyspace.WORKERS(), self.worker)
                pipe.get(keyspace.DRAIN(self.worker))
                pipe.expire(keyspace.DRAIN(self.worker), keyspace.DRAIN_SECONDS)
                *_, started_at, _ = await pipe.execute()
        return started_at is not None and float(started_at) == status.started_at

    async def retire(self) -> None:
        with store_errors():
            await self.redis.delete(keyspace.WORKER(self.worker), keyspace.DRAIN(self.worker))
            await self.redis.srem(keyspace.WORKERS(), self.worker)
