"""A job's events as they happen, resumable on any gateway."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response

from gateway.api.openapi import Responses, content
from gateway.api.openapi_events import SCHEMAS, UNION
from gateway.api.problems import answers
from gateway.api.responses import NoStoreResponse
from gateway.dependencies import BaseUrlDep, CallerDep, HubDep, StoreDep
from gateway.streaming import sse
from gateway.streaming.event_hub import EventReader, Hub
from gateway.streaming.owner_feed import OwnerFeed
from shared.contract import view
from shared.contract.events import EventName, JobDone, StatusChanged
from shared.contract.job import Queue, StoredJob
from shared.contract.states import JobStatus
from shared.errors import BadOption, NotFound, ResultExpired, StoreUnavailable
from shared.store.jobs import Store, StoredEvent, moment

router = APIRouter(prefix="/api/v1", tags=["jobs"])

QUEUE_POLL_SECONDS: Final = 1.0  # a waiting job's place in the queue is looked up this often
EVENT_ID: Final = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)


EVENT_ID_SCHEMA: Final[dict[str, Any]] = {"pattern": r"^([0-9]{1,19}(-[0-9]{1,19})?)?$"}
FEED: Final[Responses] = {200: {"description": "events of every job", "content": content("text/event-stream")}}
STREAM: Final[Responses] = {
    200: {
        "description": "events, from the first or from the one after the id",
        "content": {"text/event-stream": {"schema": {"$ref": SCHEMAS + UNION}}},
    },
    204: {"description": "the job has ended and its last event was seen"},
}


@router.get("/events", response_class=Response, summary="Stream events of all jobs", responses=FEED | answers())
async def follow_all(caller: CallerDep, store: StoreDep, hub: HubDep) -> Response:
    """The events of all the caller's jobs from now on, in one connection, as `{job, event, data}` and without text."""
    return sse.EventStream(OwnerFeed(store, hub, caller.owner).messages())


@router.get(
    "/jobs/{job_id}/events", response_class=Response, summary="Stream job events",
    responses=STREAM | answers(400, 404, 410),
)  # fmt: skip
async def follow(
    job_id: str,
    caller: CallerDep,
    store: StoreDep,
    hub: HubDep,
    base_url: BaseUrlDep,
    last_event_id: Annotated[
        str | None, Header(description="resume after this event", json_schema_extra=EVENT_ID_SCHEMA)
    ] = None,
    last: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            description="the same, for clients that cannot set headers",
            json_schema_extra=EVENT_ID_SCHEMA,
        ),
    ] = None,
) -> Response:
    """Events until the job has ended. A reader that returns with the last id it saw misses nothing."""
    after = max(read_id(last_event_id), read_id(last), key=moment)
    job = await store.job(job_id, caller.owner, pages=False)
    if job.expired:
        raise ResultExpired()
    if job.finished and after != "0" and not await store.events(job_id, after, 1):
        return NoStoreResponse(status_code=204)
    return sse.EventStream(Follower(store, hub, job, base_url).messages(after))


def read_id(text: str | None) -> str:
    """A stream id that Redis accepts; "0" is before all. Raises ``BadOption``."""
    found = EVENT_ID.fullmatch(text) if text else None
    if text and (found is None or max(moment(text)) >= 2**64):
        raise BadOption("Last-Event-ID is not the id of an event")
    return text if text and max(moment(text)) else "0"


class Follower:
    """One reader's stream: the stored events in order, and between them those that the gateway makes."""

    def __init__(self, store: Store, hub: Hub, job: StoredJob, base_url: str) -> None:
        self._store, self._hub = store, hub
        self._job = job
        self._base_url = base_url
        self._place: tuple[int, int] | None = None
        self._written = time.monotonic()

    async def messages(self, after: str) -> AsyncIterator[str]:
        yield "retry: 3000\n"  # part of the first event: some clients take it for an event if it stands alone
        while True:
            try:
                async with self._hub.follow(self._job.id, after) as reader:
                    async for message in self._follow(reader):
                        after = reader.position
                        self._written = time.monotonic()
                        yield message
                return
            except StoreUnavailable:
                yield sse.PING
                await asyncio.sleep(QUEUE_POLL_SECONDS)

    async def _follow(self, reader: EventReader) -> AsyncIterator[str]:
        while not self._hub.closed:
            events = await reader.next(self._patience())
            if reader.missed:
                reader.missed = False
                async for message in self._snapshot():
                    yield message
            if events:
                yield self._written_out(events)
            if any(isinstance(stored.event, JobDone) for stored in events):
                return
            if not events or any(isinstance(stored.event, StatusChanged) for stored in events):
                async for message in self._between():
                    yield message
                if self._job.finished and not events:
                    if rest := await reader.rest():
                        yield self._written_out(rest)
                    return

    def _written_out(self, events: list[StoredEvent]) -> str:
        """In one piece: where many follow one job, sending is what takes the time."""
        return "".join(self._hub.text_of(self._job.id, stored) for stored in events)

    async def _between(self) -> AsyncIterator[str]:
        """After a silence or a change of state: the place in the queue, the end, or a ping."""
        try:
            self._job = await self._store.job(self._job.id, self._job.owner, pages=False)
        except NotFound:
            self._job = self._job.model_copy(update={"status": JobStatus.CANCELLED})
            ended = JobDone(status=JobStatus.CANCELLED, error=None)
            yield sse.message(ended.payload(), ended.name)
            return
        if self._job.status is JobStatus.QUEUED and self._job.queue is not None and self._moved(self._job.queue):
            yield sse.message(self._job.queue.model_dump(mode="json"), EventName.QUEUE)
        elif time.monotonic() - self._written >= sse.PING_SECONDS:
            yield sse.PING

    def _moved(self, queue: Queue) -> bool:
        """Whether the job's place differs from the one last sent; the estimate of the time left does not count."""
        before, self._place = self._place, (queue.position, queue.pages_ahead)
        return before != self._place

    def _patience(self) -> float:
        until_ping = max(0.0, self._written + sse.PING_SECONDS - time.monotonic())
        return min(QUEUE_POLL_SECONDS, until_ping) if self._job.status is JobStatus.QUEUED else until_ping

    async def _snapshot(self) -> AsyncIterator[str]:
        try:
            self._job = await self._store.job(self._job.id, self._job.owner)
        except NotFound:
            return  # deleted meanwhile: of its events only the end is left
        yield sse.message(view.full(self._job, self._base_url).model_dump(mode="json"), EventName.SNAPSHOT)
