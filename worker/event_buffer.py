"""Text on its way out: the pieces of many pages, gathered and written to the jobs' streams every few moments."""

from __future__ import annotations

import asyncio
from typing import Any

from worker.claims import Claim, Claims

GATHER_SECONDS = 0.075


class EventBuffer:
    """Collects ``token`` and ``page.restarted`` events and writes each job's in one step, in their order.

    The first piece after a pause leaves at once; those that follow are gathered for 75 ms, so that a page of a
    thousand tokens is not a thousand writes.
    """

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._pending: dict[str, tuple[Claim, list[tuple[str, dict[str, Any]]]]] = {}
        self._some = asyncio.Event()
        self._writing: dict[str, asyncio.Lock] = {}

    def text(self, claim: Claim, page: int, text: str) -> None:
        """Add a piece of a page's text; pieces of one page that wait together become one event."""
        events = self._events(claim)
        if events and events[-1][0] == "token" and events[-1][1]["page"] == page:
            events[-1][1]["text"] += text
        else:
            events.append(("token", {"page": page, "text": text}))

    def restarted(self, claim: Claim, page: int, reason: str) -> None:
        self._events(claim).append(("page.restarted", {"page": page, "reason": reason}))

    def _events(self, claim: Claim) -> list[tuple[str, dict[str, Any]]]:
        self._some.set()
        return self._pending.setdefault(claim.job.id, (claim, []))[1]

    async def flush(self, job_id: str) -> None:
        """Write what waits for this job: before its page's result, so that text never follows its end."""
        lock = self._writing.setdefault(job_id, asyncio.Lock())
        async with lock:
            if (waiting := self._pending.pop(job_id, None)) is not None:
                await self._claims.stream(*waiting)

    def forget(self, job_id: str) -> None:
        self._pending.pop(job_id, None)
        self._writing.pop(job_id, None)

    async def run(self) -> None:
        """Write for ever; cancelled with the service."""
        while True:
            await self._some.wait()
            self._some.clear()
            await asyncio.gather(*(self.flush(job_id) for job_id in list(self._pending)))
            await asyncio.sleep(GATHER_SECONDS)
