"""``Prefer: wait=N`` and ``?wait=N``: hold the response back until the job changes or the time is up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query, Request

from gateway.streaming.event_hub import Hub
from shared.contract.job import StoredJob
from shared.store.jobs import Store
from shared.tasks import stop

MAX_WAIT_SECONDS: Final = 60
POLL_SECONDS: Final = 5.0  # the job is looked up this often while no event of it arrives
WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?(?=$|[,;\s])', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wait:
    """``seconds`` 0: do not wait. ``preferred``: asked for by the Prefer header, to be confirmed in the response."""

    seconds: int = 0
    preferred: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Preference-Applied": f"wait={self.seconds}"} if self.preferred else {}


def preferred(value: str) -> Wait:
    """Read a Prefer header; what it does not say clearly is ignored, as RFC 7240 requires."""
    found = WAIT.search(value)
    seconds = min(MAX_WAIT_SECONDS, int(found[1])) if found else 0
    return Wait(seconds, preferred=True) if seconds else Wait()


async def wanted_wait(
    request: Request,
    wait: Annotated[
        int | None, Query(ge=1, le=MAX_WAIT_SECONDS, description="seconds to wait for the job to end")
    ] = None,
) -> Wait:
    return Wait(wait) if wait is not None else await prefer_wait(request)


async def prefer_wait(request: Request) -> Wait:
    return preferred(", ".join(request.headers.getlist("prefer")))


Waits = Annotated[Wait, Depends(wanted_wait)]
Prefers = Annotated[Wait, Depends(prefer_wait)]


async def disconnected(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class LongPoll:
    """Waits on behalf of one request."""

    def __init__(self, request: Request, store: Store, hub: Hub) -> None:
        self._request, self._store, self._hub = request, store, hub

    async def until(self, job: StoredJob, seconds: float | None, enough: Callable[[StoredJob], bool]) -> StoredJob:
        """The job once ``enough`` says so; as it is when the time is up, the client has left or the gateway stops.

        ``seconds`` 0: do not wait; None: without a limit.
        """
        if seconds == 0 or enough(job):
            return job
        left = asyncio.ensure_future(disconnected(self._request))
        follower = asyncio.ensure_future(self._follow(job, enough))
        try:
            await asyncio.wait({left, follower}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return follower.result() if follower.done() else await self._store.job(job.id, job.owner)
        finally:
            await stop(left, follower)

    async def _follow(self, job: StoredJob, enough: Callable[[StoredJob], bool]) -> StoredJob:
        async with self._hub.follow(job.id, None) as reader:
            while True:
                job = await self._store.job(job.id, job.owner)
                if job.finished or enough(job) or self._hub.closed:
                    return job
                events = await reader.next(POLL_SECONDS)
                while events and all(event.name == "token" for event in events):
                    events = await reader.next(POLL_SECONDS)
