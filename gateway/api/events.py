"""A job's events as they happen, resumable on any gateway."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from gateway.api.openapi import Responses, content
from gateway.api.problems import answers
from gateway.api.responses import base_url
from gateway.dependencies import CallerDep
from gateway.services import Services, ServicesDep
from gateway.streaming import sse
from gateway.streaming.event_hub import EventReader, moment
from shared.contract import view
from shared.contract.job import Job, Queue
from shared.errors import BadOption, NotFound, ResultExpired, StoreUnavailable

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

# Every event there is: those the workers and the store write to the job's stream, then the gateway's own.
STORED: Final = (
    "status", "page.started", "token", "page.restarted", "page.completed", "page.failed", "done",
)  # fmt: skip
OWN: Final = ("queue", "snapshot")
TICK: Final = 1.0  # seconds between two looks at a waiting job's place
EVENT_ID: Final = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)


AN_ID: Final[dict[str, Any]] = {"pattern": r"^([0-9]{1,19}(-[0-9]{1,19})?)?$"}
STREAM: Final[Responses] = {
    200: {
        "description": "events, from the first or from the one after the id",
        "content": content("text/event-stream"),
    },
    204: {"description": "the job has ended and its last event was seen"},
}


@router.get(
    "/{job_id}/events", response_class=Response, summary="Follow a job",
    responses=STREAM | answers(400, 404, 410),
)  # fmt: skip
async def follow(
    job_id: str,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    last_event_id: Annotated[str | None, Header(description="go on after this event", json_schema_extra=AN_ID)] = None,
    last: Annotated[
        str | None,
        Query(alias="last_event_id", description="the same, for what sets no headers", json_schema_extra=AN_ID),
    ] = None,
) -> Response:
    """Events until the job has ended. A reader that comes back with the last id it saw misses nothing."""
    after = max(read_id(last_event_id), read_id(last), key=moment)
    job = await services.store.job(job_id, caller.owner)
    if job.expired:
        raise ResultExpired()
    if job.finished and after != "0" and not await services.store.events(job_id, after, 1):
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return sse.EventStream(Follower(services, job, base_url(services, request)).messages(after))


def read_id(text: str | None) -> str:
    """A stream id that Redis accepts; "0" is before all. Raises ``BadOption``."""
    found = EVENT_ID.fullmatch(text) if text else None
    if text and (found is None or max(moment(text)) >= 2**64):
        raise BadOption("Last-Event-ID is not the id of an event")
    return text if text and max(moment(text)) else "0"


class Follower:
    """One reader's stream: stored events in their order, and in between what only the gateway knows."""

    def __init__(self, services: Services, job: Job, base: str) -> None:
        self._services = services
        self._job = job
        self._base = base
        self._place: tuple[int, int] | None = None
        self._written = time.monotonic()

    async def messages(self, after: str) -> AsyncIterator[str]:
        yield "retry: 3000\n"  # a line of the first event: some clients take it for one if it stands alone
        while True:
            try:
                async with self._services.hub.follow(self._job.id, after) as reader:
                    async for message in self._follow(reader):
                        after = reader.position
                        self._written = time.monotonic()
                        yield message
                return
            except StoreUnavailable:
                yield sse.PING
                await asyncio.sleep(TICK)

    async def _follow(self, reader: EventReader) -> AsyncIterator[str]:
        while not self._services.hub.closed:
            events = await reader.next(self._patience())
            if reader.missed:
                reader.missed = False
                yield await self._snapshot()
            for event in events:
                yield sse.message(event.data, event.name, event.id)
            if any(event.name == "done" for event in events):
                return
            if not events or any(event.name == "status" for event in events):
                async for message in self._between():
                    yield message
                if self._job.finished and not events:
                    return

    async def _between(self) -> AsyncIterator[str]:
        """After a silence or a change of state: the place in the queue, the end, or a sign of life."""
        try:
            self._job = await self._services.store.job(self._job.id, self._job.owner)
        except NotFound:
            self._job = self._job.model_copy(update={"status": "cancelled"})
            yield sse.message({"status": "cancelled", "error": None}, "done")
            return
        if self._job.status == "queued" and self._job.queue is not None and self._moved(self._job.queue):
            yield sse.message(self._job.queue.model_dump(mode="json"), "queue")
        elif time.monotonic() - self._written >= sse.PING_SECONDS:
            yield sse.PING

    def _moved(self, queue: Queue) -> bool:
        """Whether the job's place is another than the one last told; the estimate of the time left does not count."""
        before, self._place = self._place, (queue.position, queue.pages_ahead)
        return before != self._place

    def _patience(self) -> float:
        until_ping = max(0.0, self._written + sse.PING_SECONDS - time.monotonic())
        return min(TICK, until_ping) if self._job.status == "queued" else until_ping

    async def _snapshot(self) -> str:
        self._job = await self._services.store.job(self._job.id, self._job.owner)
        return sse.message(view.full(self._job, self._base).model_dump(mode="json"), "snapshot")
