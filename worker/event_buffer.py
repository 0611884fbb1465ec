"""Text on its way out: the pieces of many pages, gathered and written to the jobs' streams every few moments."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from shared.contract.events import JobEvent, PageRestarted, PageText
from shared.errors import StoreUnavailable
from worker.claims import Claim, Claims

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.075
IDLE_SECONDS = 1.0


class EventBuffer:
    """Collects ``token`` and ``page.restarted`` events and writes each job's in one step, in their order.

    The first piece after a pause leaves at once; those that follow are gathered for 75 ms, so that a page of a
    thousand tokens is not a thousand writes.
    """

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._pending: dict[str, tuple[Claim, list[JobEvent]]] = {}
        self._some = asyncio.Event()
        self._writing: dict[str, asyncio.Lock] = {}
        self._gaps: dict[str, StoreUnavailable] = {}  # jobs of whose text some could not be written
        self._flushes: dict[str, asyncio.Task[None]] = {}

    def text(self, claim: Claim, page: int, text: str) -> None:
        """Add a piece of a page's text; pieces of one page that wait together become one event."""
        events = self._events(claim)
        last = events[-1] if events else None
        if isinstance(last, PageText) and last.page == page:
            events[-1] = PageText(page=page, text=last.text + text)
        else:
            events.append(PageText(page=page, text=text))

    def restarted(self, claim: Claim, page: int, reason: str) -> None:
        self._events(claim).append(PageRestarted(page=page, reason=reason))

    def _events(self, claim: Claim) -> list[JobEvent]:
        self._some.set()
        return self._pending.setdefault(claim.job.id, (claim, []))[1]

    async def flush(self, job_id: str) -> None:
        """Write what waits for this job: before its page's result, so that text never follows its end.

        Raises ``StoreUnavailable``, from then on for every flush of the job: its stream has a gap, and whoever reads
        the pages in flight again begins them anew.
        """
        lock = self._writing.setdefault(job_id, asyncio.Lock())
        async with lock:
            if (gap := self._gaps.get(job_id)) is not None:
                raise StoreUnavailable(gap.detail) from gap
            if (waiting := self._pending.pop(job_id, None)) is None:
                return
            try:
                await self._claims.stream(*waiting)
            except StoreUnavailable as error:
                if self._writing.get(job_id) is lock:  # not forgotten meanwhile
                    self._gaps[job_id] = error
                raise

    def forget(self, job_id: str) -> None:
        self._pending.pop(job_id, None)
        self._writing.pop(job_id, None)
        self._gaps.pop(job_id, None)

    async def step(self) -> None:
        """Write what there is. A job whose writing takes long holds up no other."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._some.wait()
        if not self._some.is_set():
            return
        self._some.clear()
        for job_id in self._pending.keys() - self._flushes.keys():
            self._flushes[job_id] = asyncio.create_task(self._flush_quietly(job_id))
        if self._flushes:
            await asyncio.wait(self._flushes.values(), timeout=GATHER_SECONDS)
        await asyncio.sleep(GATHER_SECONDS)

    async def _flush_quietly(self, job_id: str) -> None:
        try:
            await self.flush(job_id)
        except StoreUnavailable as error:
            logger.warning("the text of job %s waits in vain for the store: %s", job_id, error)
        finally:
            self._flushes.pop(job_id, None)
            if job_id in self._pending:
                self._some.set()
