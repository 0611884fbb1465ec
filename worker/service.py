"""What a worker process holds from ``worker_process_init`` on: the engine, its claims, and the loops that keep them."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress

from shared import log, tracing
from shared.contract.job import ANONYMOUS
from shared.contract.states import JobStatus
from shared.contract.worker_status import WorkerStatus
from shared.errors import EngineDead, StoreUnavailable
from shared.store.connect import Client, connect
from shared.tasks import Loops, stop
from worker import outcome
from worker.claims import Claim, Claims, Standing
from worker.counter_audit import CounterAudit
from worker.engines import load_engine
from worker.engines.base import Engine
from worker.event_buffer import EventBuffer
from worker.fair_queue import FairQueue
from worker.job_runner import ClaimLost, JobRunner, WorkerContext
from worker.outcome import TaskOutcome
from worker.payload_sweeper import PayloadSweeper
from worker.reader import reader_digest
from worker.render import Renderer
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

REPORT_SECONDS = 2.0
REAP_SECONDS = 1.0
SWEEP_SECONDS = 1.0
EVENTS_SECONDS = 2.0  # within which Celery sends what it buffers
AUDIT_PAUSE_SECONDS = 10.0  # between two looks at whether it is this worker's turn
LOOP_CONNECTIONS = 4


class WorkerService:
    """Reads jobs on one event loop. ``on_dead`` is called once: the engine can read no more, or a loop has ended.

    ``take_messages`` is told whether the queue's messages are wanted, again and again while an operator has it drain.
    ``redis`` waits with what was read until the store takes it. The loops have connections of their own, ``quick``,
    which give up within seconds: a loop tries again anyway, and no job's call may stand before a renewal.
    """

    def __init__(
        self, settings: WorkerSettings, redis: Client, quick: Client, engine: Engine,
        on_dead: Callable[[], object], take_messages: Callable[[bool], object],
    ) -> None:  # fmt: skip
        self.settings, self.redis, self.engine = settings, redis, engine
        self._quick = quick
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        log.name_process(worker=self.name)
        self.claims = Claims(redis, settings, self.name)
        self._loop_claims = Claims(quick, settings, self.name)
        self.sweeper = PayloadSweeper(quick, self.claims.payloads, self.name, settings.payload_orphan_age)
        slots = settings.pages_in_flight or engine.describe().slots
        event_buffer = EventBuffer(self.claims)
        ahead = settings.render_ahead
        self.context = WorkerContext(
            settings=settings,
            engine=engine,
            claims=self.claims,
            renderer=Renderer(settings),
            event_buffer=event_buffer,
            render_slots=FairQueue(slots + ahead, reserve=max(1, ahead // 2)),
            engine_slots=FairQueue(slots),
            reader=reader_digest(engine.describe(), settings),
        )
        self._held: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._loops = Loops(self._loop_died, settings.heartbeat_file)
        self._on_dead, self._take_messages = on_dead, take_messages
        self._dead = self._ending = self._draining = False
        self._start_counted = False
        self._told_at: dict[str, float] = {}  # jobs -> when this worker told how they ended
        self._started_at = time.time()

    @classmethod
    async def start(
        cls, settings: WorkerSettings, on_dead: Callable[[], object], take_messages: Callable[[bool], object]
    ) -> WorkerService:
        """Load the engine, then keep up what has to go on. Raises what the engine raises: then no job may be taken.

        Redis need not be there yet: an engine that took minutes to load waits for it.
        """
        tracing.configure("ocr-worker")
        engine = await load_engine(settings)
        url = settings.redis_url.get_secret_value()
        quick = connect(url, patient=False, connections=LOOP_CONNECTIONS)
        service = cls(settings, connect(url, patient=True), quick, engine, on_dead, take_messages)
        service._loops.start("events", service.context.event_buffer.step)
        service._loops.start("leases", service._renew_leases, settings.heartbeat)
        service._loops.start("report", service._report, REPORT_SECONDS)
        service._loops.start("reaper", service._reap, REAP_SECONDS)
        service._loops.start("payloads", service.sweeper.step, SWEEP_SECONDS)
        service._loops.start("audit", CounterAudit(service._quick, service.name).run, AUDIT_PAUSE_SECONDS)
        log.event(logger, "engine.ready", engine=engine.describe().name, slots=engine.describe().slots)
        return service

    # -- one job

    async def read_job(self, job_id: str) -> TaskOutcome:
        """What Celery's task does: claim the job, read it, end it. A message that is of no use any more is dropped."""
        with log.scope(job=job_id):
            if job_id in self._held:
                return outcome.unchanged("it is being read here")
            claim = await self.claims.claim(job_id, uuid.uuid4().hex)
            if claim is None:
                return await self._not_claimed(job_id)
            log.bind(request_id=claim.job.request_id, key=key_of(claim.job.owner))
            return await self._read_claimed(claim)

    async def _not_claimed(self, job_id: str) -> TaskOutcome:
        """Ended while it waited, or another's. What the worker that read it has shown is not shown again."""
        standing, told_next = await self.claims.standing(job_id), await self.claims.told_next(job_id)
        if told_next is None or job_id in self._told_at:
            return outcome.unchanged("it has been told of, or another worker holds it")
        if standing.status in (JobStatus.SUCCEEDED, JobStatus.PARTIAL) and not standing.asked_for(told_next):
            return outcome.unchanged("the worker that read it tells of it")
        if standing.ended:
            self._log_end(standing)
        self._told_at[job_id] = time.monotonic()
        return outcome.of_job(standing, else_=outcome.unchanged("another worker holds it"))

    async def _read_claimed(self, claim: Claim) -> TaskOutcome:
        job_id = claim.job.id
        reading = asyncio.create_task(JobRunner(self.context, claim).run(), name=job_id)
        self._held[job_id] = (claim, reading)
        try:
            await asyncio.wait([reading])
            return await self._ended(claim, reading)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(claim, reading))
            raise
        finally:
            self._held.pop(job_id, None)
            self.context.event_buffer.forget(job_id)

    async def _ended(self, claim: Claim, reading: asyncio.Task[None]) -> TaskOutcome:
        if reading.cancelled():
            await self.claims.release(claim, forgive=not self._dead)
            return await self._told(claim, "the engine died" if self._dead else "the worker stops reading it")
        error = reading.exception()
        if error is None:
            return await self._told(claim, "the worker stops")
        if _holds(error, EngineDead):
            self._engine_died(error)
            await self.claims.release(claim, forgive=False)
            return await self._told(claim, "the engine died")
        if _holds(error, ClaimLost):
            return await self._told(claim, "its lease was lost")
        if _holds(error, StoreUnavailable):
            # Whoever takes it over goes on from the pages that are stored.
            logger.warning("the job is left to its lease: the store took nothing for a minute")
            return outcome.given_back("the store took nothing for a minute")
        logger.error("the job failed", exc_info=error)
        await self.claims.fail(claim, "internal", "The job failed for a reason of the service's own")
        return await self._told(claim, "its lease was lost")

    async def _told(self, claim: Claim, why_back: str) -> TaskOutcome:
        """What the record says now that this worker has let go of the job."""
        standing = await self.claims.standing(claim.job.id)
        if standing.ended or standing.status is None:
            self._told_at[claim.job.id] = time.monotonic()
        if standing.ended:
            self._log_end(standing)
        elif standing.status is not None:
            log.event(logger, "job.released", reason=why_back)
        return outcome.of_job(standing, else_=outcome.given_back(why_back))

    def _log_end(self, standing: Standing) -> None:
        """``job.ended``; a cancel has been logged by the gateway."""
        if standing.status == JobStatus.CANCELLED:
            return
        queued = standing.queue_seconds
        log.event(
            logger, "job.ended", request_id=standing.request_id, status=standing.status,
            code=standing.code,
            pages=standing.pages_done, pages_failed=standing.pages_failed or None,
            ms=log.milliseconds(standing.completed_at - standing.created_at),
            queue_ms=None if queued is None else log.milliseconds(queued),
        )  # fmt: skip

    async def _give_back(self, claim: Claim, reading: asyncio.Task[None]) -> None:
        await stop(reading)
        with suppress(StoreUnavailable):
            await self.claims.release(claim)

    # -- what goes on all the time

    async def _renew_leases(self) -> None:
        """Renew the leases; stop reading what is no longer ours. Also: is the engine alive?"""
        try:
            await self.engine.check()
        except EngineDead as error:
            self._engine_died(error)
        self._stop_cancelled_jobs(await self._loop_claims.renew([claim for claim, _ in self._held.values()]))

    def _stop_cancelled_jobs(self, lost: Iterable[str]) -> None:
        """Free the engine of jobs that were cancelled, deleted or taken over: their lease was not renewed."""
        for job_id in lost:
            if job_id in self._held:
                log.event(logger, "claim.lost", job=job_id, request_id=self._held[job_id][0].job.request_id)
                self._held[job_id][1].cancel()

    async def _reap(self) -> None:
        """After an outage of the store every lease has lapsed: those who hold them get the time to renew them."""
        if self._loops.calm_seconds < self.settings.lease:
            return
        await self._loop_claims.reap()

    async def _report(self) -> None:
        if not self._start_counted:
            await self._loop_claims.engine_started()
            self._start_counted = True
        drain = await self._loop_claims.report(self.status())
        if self._obey(drain=drain):
            await self._loop_claims.report(self.status())
        await self._note_told(time.monotonic() - EVENTS_SECONDS)

    def _obey(self, *, drain: bool) -> bool:
        """Drain by an operator's order, until another takes it back; whether that is new.

        As at the end of the process, pages in the engine are read to their end and jobs go back as they come to rest.
        A message that was under way meanwhile is given back, too: its job begins no page.
        """
        if self._ending:
            return False
        changed, self._draining = drain != self._draining, drain
        if drain or changed:
            self._take_messages(not drain)  # told again: Celery may have been without a connection
        if changed:
            log.event(logger, "worker.draining" if drain else "worker.resumed", jobs=len(self._held))
            self.context.close() if drain else self.context.open()
        return changed

    async def _note_told(self, before: float) -> None:
        """Jobs that ended before then are told of: Celery has sent its events. Until then another may have to tell."""
        if told := [job_id for job_id, moment in self._told_at.items() if moment <= before]:
            await self._loop_claims.told(told)
            for job_id in told:
                del self._told_at[job_id]

    def status(self) -> WorkerStatus:
        """What the gateways hear of this worker."""
        context = self.context
        return WorkerStatus(
            name=self.name,
            started_at=self._started_at,
            draining=self._draining,
            jobs=len(self._held),
            pages_rendered=context.render_slots.capacity - context.render_slots.free,
            pages_reading=context.engine_slots.capacity - context.engine_slots.free,
            slots=context.engine_slots.capacity,
            reader=context.reader,
            engine=self.engine.describe(),
        )

    # -- the end

    def _engine_died(self, error: BaseException) -> None:
        if self._dead:
            return
        self._dead = self._ending = True
        log.event(logger, "engine.died", logging.CRITICAL, reason=type(error).__name__)
        logger.critical("the engine has died: %s", error)
        self.context.close()
        self._stop_reading()
        self._on_dead()

    def _loop_died(self) -> None:
        """Without its loops a worker would lose what it reads: the jobs go back, and the process ends."""
        self._ending = True
        self.context.close()
        self._stop_reading()
        self._on_dead()

    def drain(self) -> None:
        """Begin no further page; give pages in the engine ``drain_seconds``. Jobs go back as they come to rest."""
        self._ending = True
        self.context.close()
        asyncio.get_running_loop().call_later(self.settings.drain_seconds, self._stop_reading)

    def _stop_reading(self) -> None:
        for _, reading in self._held.values():
            reading.cancel()

    async def close(self) -> None:
        await self._loops.stop()
        await self.engine.close()
        await self.context.renderer.close()
        with suppress(StoreUnavailable):
            await self._note_told(math.inf)
            await self.claims.retire()
        await self._quick.aclose()
        await self.redis.aclose()


def key_of(owner: str) -> str | None:
    """The key id in log lines; jobs without a key have none."""
    return None if owner == ANONYMOUS else owner


def _holds(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an error, or any error of a group, is of this kind."""
    if isinstance(error, BaseExceptionGroup):
        return any(_holds(inner, kind) for inner in error.exceptions)
    return isinstance(error, kind)
