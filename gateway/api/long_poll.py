"""``Prefer: wait=N`` and ``?wait=N``: an answer that is held back until there is something to say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query, Request

from gateway.services import Services
from shared.contract.job import Job
from shared.tasks import stop

MOST: Final = 60
LOOK: Final = 5.0  # seconds between two looks at a job of which nothing is heard
WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?(?=$|[,;\s])', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wait:
    """``seconds`` 0: do not wait. ``preferred``: asked for by the Prefer header, to be confirmed in the answer."""

    seconds: int = 0
    preferred: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Preference-Applied": f"wait={self.seconds}"} if self.preferred else {}


def preferred(value: str) -> Wait:
    """Read a Prefer header; what it does not say clearly is ignored, as RFC 7240 has it."""
    found = WAIT.search(value)
    seconds = min(MOST, int(found[1])) if found else 0
    return Wait(seconds, preferred=True) if seconds else Wait()


async def wanted_wait(
    request: Request,
    wait: Annotated[int | None, Query(ge=1, le=MOST, description="seconds to wait for the job to end")] = None,
) -> Wait:
    return Wait(wait) if wait is not None else preferred(", ".join(request.headers.getlist("prefer")))


async def prefer_wait(request: Request) -> Wait:
    return preferred(", ".join(request.headers.getlist("prefer")))


Waits = Annotated[Wait, Depends(wanted_wait)]
Prefers = Annotated[Wait, Depends(prefer_wait)]


async def gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def wait_for(
    services: Services, request: Request, job: Job, seconds: float, enough: Callable[[Job], bool]
) -> Job:
    """The job once ``enough`` says so; as it is when the time is up, the client has gone or the gateway stops."""
    if not seconds or enough(job):
        return job
    left = asyncio.ensure_future(gone(request))
    follower = asyncio.ensure_future(_follow(services, job, enough))
    try:
        await asyncio.wait({left, follower}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return follower.result() if follower.done() else await services.store.job(job.id, job.owner)
    finally:
        await stop(left, follower)


async def _follow(services: Services, job: Job, enough: Callable[[Job], bool]) -> Job:
    async with services.hub.follow(job.id, None) as reader:
        while True:
            job = await services.store.job(job.id, job.owner)
            if job.finished or enough(job) or services.hub.closed:
                return job
            events = await reader.next(LOOK)
            while events and all(event.name == "token" for event in events):
                events = await reader.next(LOOK)
