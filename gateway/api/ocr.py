"""The original API: one file in, its text out, in the same call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway.api.forms import READ_FIELDS, read_flag, read_form
from gateway.api.held_call import HeldCall
from gateway.api.long_poll import LongPoll
from gateway.api.openapi import READ_FORM, Responses, content, header
from gateway.api.outcomes import refuse_without_result
from gateway.api.problems import UPLOAD, answers, describe, request_id
from gateway.api.submission import ReceivedUpload, Submitter
from gateway.api.workers import ready_workers
from gateway.background import Background
from gateway.dependencies import BackgroundDep, CallerDep, HubDep, LongPollDep, StoreDep, SubmissionsDep
from gateway.formats.markdown import markdown
from gateway.streaming import sse
from gateway.streaming.event_hub import EventReader, Hub
from gateway.streaming.text_stream import TextStream
from shared.contract.document import DocumentResult
from shared.contract.events import JobDone, PageEnded, PageRestarted, PageText
from shared.contract.job import StoredJob
from shared.errors import EngineNotReady, JobFailed, OCRError
from shared.store.jobs import Store, StoredEvent

router = APIRouter(prefix="/api/v1", tags=["wait or stream in one call"])

POLL_SECONDS: Final = 5.0  # the job is looked up this often while no event of it arrives
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
    "/ocr", summary="OCR a file in one call", openapi_extra=READ_FORM, response_model=OcrResponse,
    responses=READ | answers(*UPLOAD, "engine-not-ready", "job-failed"),
)  # fmt: skip
async def read(
    request: Request,
    response: Response,
    caller: CallerDep,
    store: StoreDep,
    submissions: SubmissionsDep,
    hub: HubDep,
    long_poll: LongPollDep,
    background: BackgroundDep,
) -> OcrResponse | Response:
    """Submits a job and relays its text. A client that disconnects cancels the job."""
    if not await ready_workers(store):
        raise EngineNotReady("No worker is ready", retry_after=5)
    async with read_form(request, READ_FIELDS, files=1) as form:
        stream = read_flag("stream", form.fields, default=True)
        submit_options = await submissions.check_form(form)
        upload = await submissions.receive_upload(form.file, submit_options)
        submitter = Submitter(caller.owner, page_quota=caller.page_quota)
        submitted = await submissions.submit(upload, submit_options, submitter)
    call = OcrCall(store, hub, background, submitted.job_id, upload, request_id(request))
    if stream:
        return call.stream()
    response.headers.update(call.headers)
    return await call.whole(long_poll)


class OcrCall:
    """A job with one client waiting for it; it is cancelled when the client disconnects."""

    def __init__(
        self, store: Store, hub: Hub, background: Background, job_id: str, upload: ReceivedUpload, request_id: str
    ) -> None:
        self._store, self._hub = store, hub
        self._id, self._upload, self._request_id = job_id, upload, request_id
        self._call = HeldCall(store, background, job_id)
        self.headers = {"X-Job-Id": job_id}

    # -- in one response

    async def whole(self, long_poll: LongPoll) -> OcrResponse:
        """Wait for the job's end. Raises ``JobFailed``, ``ResultExpired``, and ``EngineNotReady`` at a shutdown."""
        job = await self._call.end(long_poll)
        pages = tuple(await self._store.pages(job.id))
        seconds = round((job.completed_at or 0.0) - (job.started_at or job.created_at), 3)
        return OcrResponse(
            text=markdown(DocumentResult(job_id=job.id, engine=job.engine or "", pages=pages)),
            metadata=OcrMetadata(
                image_width=self._upload.info.width or pages[0].width,
                image_height=self._upload.info.height or pages[0].height,
                processing_time=seconds,
            ),
        )

    # -- as it is made

    def stream(self) -> Response:
        return sse.EventStream(self._messages(), self.headers, on_close=self._call.disconnected)

    async def _messages(self) -> AsyncIterator[str]:
        text_stream, written = TextStream(self._upload.numbers), time.monotonic()
        try:
            async with self._hub.follow(self._id, "0") as reader:
                while not self._call.over:
                    for piece in await self._pieces(reader, text_stream):
                        written = time.monotonic()
                        yield sse.message(piece)
                    if time.monotonic() - written >= sse.PING_SECONDS:
                        written = time.monotonic()
                        yield sse.PING
        except OCRError as error:
            yield sse.message(self._error(error))

    async def _pieces(self, reader: EventReader, text_stream: TextStream) -> list[dict[str, Any]]:
        """Wait for the next pieces of text, and for the end."""
        events = await reader.next(POLL_SECONDS)
        job = None if events else await self._call.job()
        if job is not None and job.finished:
            events = await reader.rest()
        pieces: list[dict[str, Any]] = []
        if reader.missed:
            reader.missed = False
            pieces += text_stream.missed()
            for page in await self._store.pages(self._id):
                pieces += text_stream.ended(page)
        for stored in events:
            pieces += await self._pieces_of(stored, text_stream)
        if job is None and any(isinstance(stored.event, JobDone) for stored in events):
            job = await self._call.job()
        if job is not None:
            pieces += self._end(job, text_stream)
        return pieces

    async def _pieces_of(self, stored: StoredEvent, text_stream: TextStream) -> list[dict[str, Any]]:
        match stored.event:
            case PageText(page=number, text=text):
                return list(text_stream.token(number, text))
            case PageRestarted(page=number):
                return list(text_stream.restarted(number))
            case PageEnded(page=number):
                page = await self._store.page(self._id, number)
                return list(text_stream.ended(page)) if page else []
            case _:
                return []

    def _end(self, job: StoredJob, text_stream: TextStream) -> list[dict[str, Any]]:
        if not job.finished:
            return []
        try:
            refuse_without_result(job)
        except JobFailed as error:
            return [self._error(error)]
        return [*text_stream.finished(), {"done": True}]

    def _error(self, error: OCRError) -> dict[str, Any]:
        return {"error": describe(error, self._request_id).model_dump()}
