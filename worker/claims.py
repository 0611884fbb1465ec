"""A worker's side of the store: claims on jobs, fenced by a token. A lost claim is an answer, not an error."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

from shared.contract.document import Page
from shared.contract.events import JobEvent
from shared.contract.job import PageSummary, StoredJob, read_job
from shared.contract.worker_status import WorkerStatus
from shared.errors import PayloadMissing
from shared.payloads.names import PICTURE, RESULT, PagePayloads, page_name
from shared.payloads.opening import open_payloads
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.message import celery_message
from shared.store.results import count_missing, side_by_side
from shared.store.scripts import Scripts, pairs
from shared.store.upload import name_in, parted
from worker.patience import until_served
from worker.settings import WorkerSettings

RESULT_IN_RECORD = 512
"""Bytes of the largest result that lies in Redis although there is a payload store: of a blank or a failed page."""
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
        job = read_job(pairs(reply[1]), {}, None, 0.0)
        return Claim(
            job,
            token,
            frozenset(int(n) for n in reply[2]),
            {int(n): int(count) for n, count in pairs(reply[3]).items() if int(count) > 0},
        )

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

    async def start(self, claim: Claim, engine: str) -> int:
        """The attempt's number, from 1; 0 when the claim is lost."""
        return int(await self.scripts.run("start", claim.job.id, claim.token, engine))

    async def renew(self, claims: Iterable[Claim]) -> set[str]:
        """Renew every lease at once; the ids of the jobs that are no longer ours."""
        held = [part for claim in claims for part in (claim.job.id, claim.token)]
        lost = await self.scripts.run("renew", self.settings.lease, *held) if held else []
        return {job_id.decode() for job_id in lost}

    async def page_start(self, claim: Claim, number: int) -> int:
        """How often this page has been begun, this time included; 0 when the claim is lost."""
        return int(await self.scripts.run("page_start", claim.job.id, claim.token, number, next(claim.steps)))

    async def page_stop(self, claim: Claim, number: int, *, forgive: bool) -> None:
        """The page goes back unread. ``forgive``: its start does not count against it."""
        await self.scripts.run("page_stop", claim.job.id, claim.token, number, next(claim.steps), int(forgive))

    async def page_end(
        self, claim: Claim, page: Page, picture: bytes | None = None, figures: Sequence[tuple[str, bytes]] = ()
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

        async def put(part: str) -> None:
            name = page_name(claim.job.id, claim.token, number, part)
            await until_served(lambda: payloads.put(name, parts[part]), f"page {number} of {claim.job.id}")

        while True:
            began = monotonic()
            await side_by_side(put, parts)
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
        message, after = celery_message(claim.job.id), self.settings.requeue_after
        await self.scripts.run("release", claim.job.id, claim.token, message, after, int(forgive))

    async def reap(self, most: int = 100) -> int:
        """Put back what dead workers held, resend what was never claimed, end what is overdue; how many.

        Also takes jobs whose records have expired off their owners' lists.
        """
        with store_errors():
            seconds, micro = await self.redis.time()
            due = await self.redis.zrangebyscore(
                keyspace.NEXT_CHECK(), "-inf", seconds + micro / 1e6, start=0, num=most
            )
        reaped = 0
        for job_id in due:
            name = job_id.decode()
            verdict = await self.scripts.run(
                "reap", name, celery_message(name), self.settings.requeue_after, uuid.uuid4().hex
            )
            reaped += verdict != b""
        await self.scripts.run("sweep")
        return reaped

    async def report(self, status: WorkerStatus) -> None:
        """Tell the gateways about this worker and its engine; believed for ten seconds."""
        with store_errors():
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.set(keyspace.WORKER(self.worker), status.model_dump_json(), ex=WORKER_TTL)
                pipe.sadd(keyspace.WORKERS(), self.worker)
                await pipe.execute()

    async def retire(self) -> None:
        with store_errors():
            await self.redis.delete(keyspace.WORKER(self.worker))
            await self.redis.srem(keyspace.WORKERS(), self.worker)
