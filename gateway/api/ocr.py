"""The original API: one file in, its text out, in the same call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway.api.forms import READ_FIELDS, read_flag, read_form
from gateway.api.health import ready_workers
from gateway.api.long_poll import wait_for
from gateway.api.openapi import READ_FORM, Responses, content, header
from gateway.api.problems import answers, describe, request_id
from gateway.api.responses import json_answer
from gateway.api.results import refuse_without_result
from gateway.api.submission import ReceivedUpload, Submitter, check_form, receive_upload, submit
from gateway.dependencies import CallerDep
from gateway.formats.markdown import markdown
from gateway.services import Services, ServicesDep
from gateway.streaming import sse
from gateway.streaming.event_hub import EventReader
from gateway.streaming.text_stream import TextStream
from shared.contract.document import Document
from shared.contract.job import Job
from shared.errors import AlreadyFinished, EngineNotReady, JobFailed, NotFound, OCRError
from shared.store.jobs import Event

router = APIRouter(prefix="/api/v1", tags=["wait or stream in one call"])

LOOK: Final = 5.0  # seconds of silence before the job is looked at
FOR_EVER: Final = 10**9
JOB_ID: Final = header("id of the job that does the work")


class OcrMetadata(BaseModel):
    """Of the first page, in pixels; ``processing_time`` in seconds, without the time in the queue."""

    image_width: int
    image_height: int
    processing_time: float = Field(examples=[3.2])


class OcrResponse(BaseModel):
    text: str
    metadata: OcrMetadata


READ: Final[Responses] = {
    200: {
        "model": OcrResponse,
        "content": content("text/event-stream"),
        "headers": {"X-Job-Id": JOB_ID},
        "description": 'with `stream=true` events `{"text"}` and a last `{"done": true}`, else one JSON object',
    }
}


@router.post(
    "/ocr", summary="Read a file now", openapi_extra=READ_FORM, response_class=Response,
    responses=READ | answers(400, 409, 413, 429),
)  # fmt: skip
async def read(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Submits a job and relays it. A client that goes away cancels it."""
    if not await ready_workers(services):
        raise EngineNotReady("No worker with a ready engine has been heard of", retry_after=5)
    async with read_form(request, READ_FIELDS, files=1) as form:
        stream = read_flag("stream", form.fields, default=True)
        submit_options = await check_form(services, form)
        upload = await receive_upload(services, form.file, submit_options)
        submitted = await submit(
            services, upload, submit_options, Submitter(caller.owner, page_quota=caller.page_quota)
        )
    call = OcrCall(services, request, submitted.job_id, upload)
    return call.stream() if stream else await call.whole()


class OcrCall:
    """A job somebody is waiting for: it is cancelled when nobody is any more."""

    def __init__(self, services: Services, request: Request, job_id: str, upload: ReceivedUpload) -> None:
        self._services, self._request, self._id, self._upload = services, request, job_id, upload
        self._headers = {"X-Job-Id": job_id}
        self._over = False

    def _left(self) -> None:
        if not self._over:
            self._services.spawn(self._cancel())

    async def _cancel(self) -> None:
        try:
            await self._services.store.cancel(self._id)
        except (AlreadyFinished, NotFound):
            return

    async def _job(self) -> Job:
        job = await self._services.store.job(self._id)
        self._over = job.finished
        return job

    # -- in one answer

    async def whole(self) -> Response:
        try:
            job = await wait_for(self._services, self._request, await self._job(), FOR_EVER, lambda job: job.finished)
            self._over = job.finished
        finally:
            self._left()
        if not job.finished:
            raise EngineNotReady("The gateway is stopping", retry_after=1)
        refuse_without_result(job)
        pages = tuple(await self._services.store.pages(job.id))
        text = markdown(Document(job_id=job.id, engine=job.engine or "", pages=pages))
        width = self._upload.info.width or pages[0].width
        height = self._upload.info.height or pages[0].height
        seconds = round((job.completed_at or 0.0) - (job.started_at or job.created_at), 3)
        metadata = OcrMetadata(image_width=width, image_height=height, processing_time=seconds)
        return json_answer(OcrResponse(text=text, metadata=metadata).model_dump(), 200, self._headers)

    # -- as it is made

    def stream(self) -> Response:
        return sse.EventStream(self._messages(), self._headers, on_close=self._left)

    async def _messages(self) -> AsyncIterator[str]:
        text_stream, written = TextStream(self._upload.numbers), time.monotonic()
        try:
            async with self._services.hub.follow(self._id, "0") as reader:
                while not self._over:
                    for piece in await self._pieces(reader, text_stream):
                        written = time.monotonic()
                        yield sse.message(piece)
                    if time.monotonic() - written >= sse.PING_SECONDS:
                        written = time.monotonic()
                        yield sse.PING
        except OCRError as error:
            yield sse.message({"error": describe(error, request_id(self._request))})

    async def _pieces(self, reader: EventReader, text_stream: TextStream) -> list[dict[str, Any]]:
        """What there is to tell next: pieces of text, and the end when it has come."""
        events = await reader.next(LOOK)
        pieces: list[dict[str, Any]] = []
        if reader.missed:
            reader.missed = False
            pieces += text_stream.missed()
            for page in await self._services.store.pages(self._id):
                pieces += text_stream.ended(page)
        for event in events:
            pieces += await self._heard(event, text_stream)
        if not events or any(event.name == "done" for event in events):
            pieces += self._end(await self._job(), text_stream)
        return pieces

    async def _heard(self, event: Event, text_stream: TextStream) -> list[dict[str, Any]]:
        if event.name == "token":
            return list(text_stream.token(event.data["page"], event.data["text"]))
        if event.name == "page.restarted":
            return list(text_stream.restarted(event.data["page"]))
        if event.name in ("page.completed", "page.failed"):
            page = await self._services.store.page(self._id, event.data["page"])
            return list(text_stream.ended(page)) if page else []
        return []

    def _end(self, job: Job, text_stream: TextStream) -> list[dict[str, Any]]:
        if not job.finished:
            return []
        try:
            refuse_without_result(job)
        except JobFailed as error:
            return [{"error": describe(error, request_id(self._request))}]
        return [*text_stream.finished(), {"done": True}]
