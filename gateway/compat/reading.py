"""One file read in one call: what every interface of another service comes down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from gateway.api.forms import Form
from gateway.api.held_call import HeldCall
from gateway.api.long_poll import LongPoll
from gateway.api.submission import Submissions, Submitter
from gateway.api.workers import ready_workers
from gateway.background import Background
from gateway.dependencies import BackgroundDep, Caller, CallerDep, LongPollDep, StoreDep, SubmissionsDep
from shared.contract.document import DocumentResult, PageResult
from shared.contract.job import StoredJob
from shared.errors import EngineNotReady
from shared.store.jobs import Store


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A job that ended with a result, and its pages."""

    job: StoredJob
    pages: tuple[PageResult, ...]

    @property
    def document(self) -> DocumentResult:
        return DocumentResult(job_id=self.job.id, engine=self.job.engine or "", pages=self.pages)

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Job-Id": self.job.id}


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads on behalf of one request; a client that disconnects cancels the job."""

    request: Request
    caller: Caller
    store: Store
    submissions: Submissions
    long_poll: LongPoll
    background: Background

    async def refuse_early(self) -> None:
        """Before the body is read. Raises ``EngineNotReady`` and ``QueueFull``."""
        if not await ready_workers(self.store):
            raise EngineNotReady("No worker with a ready engine has reported", retry_after=5)
        await self.submissions.refuse_when_full(self.request)

    async def read(self, file: UploadFile, fields: Mapping[str, str]) -> ReadFile:
        """Submit the file with these fields of a form, wait for its end, fetch its pages.

        Raises what a submission is refused with, and ``JobFailed``.
        """
        submit_options = await self.submissions.check_form(Form(fields, (file,)))
        upload = await self.submissions.receive_upload(file, submit_options)
        submitter = Submitter(self.caller.owner, page_quota=self.caller.page_quota)
        submitted = await self.submissions.submit(upload, submit_options, submitter)
        job = await HeldCall(self.store, self.background, submitted.job_id).end(self.long_poll)
        return ReadFile(job, tuple(await self.store.pages(job.id)))


async def _file_reader(
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    submissions: SubmissionsDep,
    long_poll: LongPollDep,
    background: BackgroundDep,
) -> FileReader:
    return FileReader(request, caller, store, submissions, long_poll, background)


FileReaderDep = Annotated[FileReader, Depends(_file_reader)]
