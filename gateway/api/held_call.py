"""A job whose client waits for it in the same call: it is cancelled when the client disconnects."""

from __future__ import annotations

from gateway.api.long_poll import LongPoll
from gateway.api.outcomes import refuse_without_result
from gateway.background import Background
from shared.contract.job import StoredJob
from shared.errors import AlreadyFinished, EngineNotReady, NotFound
from shared.store.jobs import Store


class HeldCall:
    """``over``: the job is known to have ended."""

    def __init__(self, store: Store, background: Background, job_id: str) -> None:
        self._store, self._background, self._id = store, background, job_id
        self.over = False

    async def job(self) -> StoredJob:
        job = await self._store.job(self._id)
        self.over = job.finished
        return job

    async def end(self, long_poll: LongPoll) -> StoredJob:
        """Wait for the job's end. Raises ``JobFailed``, ``ResultExpired``, and ``EngineNotReady`` at a shutdown."""
        try:
            job = await long_poll.until(await self.job(), None, lambda job: job.finished)
            self.over = job.finished
        finally:
            self.disconnected()
        if not job.finished:
            raise EngineNotReady("The gateway is stopping", retry_after=1)
        refuse_without_result(job)
        return job

    def disconnected(self) -> None:
        """Cancel the job unless it has ended."""
        if not self.over:
            self._background.spawn(self._cancel)

    async def _cancel(self) -> None:
        try:
            await self._store.cancel(self._id)
        except (AlreadyFinished, NotFound):
            return
