"""Batches: many files in one request, one verdict for each."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from ulid import ULID

from gateway.api.filenames import clean_filename
from gateway.api.forms import FIELDS, Form, SubmitOptions, idempotency_key, read_form
from gateway.api.openapi import BATCH_FORM, LOCATION, Responses
from gateway.api.problems import UPLOAD, ProblemDetails, answers, describe, request_id
from gateway.api.submission import Submissions, Submitter
from gateway.dependencies import BaseUrlDep, Caller, CallerDep, SettingsDep, StoreDep, SubmissionsDep
from shared.contract import view
from shared.contract.record import StoredRejection
from shared.errors import IdempotencyMismatch, NotFound, OCRError, StoreUnavailable
from shared.store.batches import StoredBatch
from shared.store.jobs import Store

router = APIRouter(prefix="/api/v1/batches", tags=["batches"])


class RejectedFile(BaseModel):
    filename: str
    problem: ProblemDetails


class BatchView(BaseModel):
    """``counts``: jobs by status. Jobs that have been deleted, or have expired, are no longer counted."""

    id: str
    object: str = "ocr.batch"
    created_at: str
    counts: dict[str, int] = Field(examples=[{"queued": 3, "succeeded": 7}])
    jobs: list[view.JobBrief]
    rejected: list[RejectedFile]


BATCH_ID: Final = re.compile("[0-9A-Z]{26}")
ACCEPTED: Final[Responses] = {202: {"model": BatchView, "headers": {"Location": LOCATION}}}


@router.post(
    "", status_code=202, summary="Submit many files", openapi_extra=BATCH_FORM,
    responses=ACCEPTED | answers(*UPLOAD, 422),
)  # fmt: skip
async def submit_batch(
    request: Request,
    response: Response,
    caller: CallerDep,
    settings: SettingsDep,
    store: StoreDep,
    submissions: SubmissionsDep,
    base_url: BaseUrlDep,
) -> BatchView:
    """One bad file does not spoil the rest. Where none could be accepted, the first one's problem is the response."""
    key = idempotency_key(request)
    await submissions.refuse_when_full(request)
    async with read_form(request, FIELDS, files=settings.max_batch_files) as form:
        submit_options = await submissions.check_form(form)
        submission = BatchSubmission(store, submissions, submit_options, caller, key, request_id(request))
        await submission.submit(form)
    batch = await store.batches.find(submission.id, caller.owner)
    response.headers["Location"] = f"{base_url}/api/v1/batches/{batch.id}"
    return await _view(store, batch, base_url)


@router.get("/{batch_id}", summary="Get a batch", responses=answers(404))
async def get_batch(batch_id: str, caller: CallerDep, store: StoreDep, base_url: BaseUrlDep) -> BatchView:
    if not BATCH_ID.fullmatch(batch_id):
        raise NotFound("No such batch")
    return await _view(store, await store.batches.find(batch_id, caller.owner), base_url)


class BatchSubmission:
    """Submits the files of one request one after the other, so that only one is in memory."""

    def __init__(
        self,
        store: Store,
        submissions: Submissions,
        submit_options: SubmitOptions,
        caller: Caller,
        key: str | None,
        request_id: str,
    ) -> None:
        self.id = batch_id(caller.owner, key)
        self._store, self._submissions, self._submit_options = store, submissions, submit_options
        self._caller, self._key, self._request_id = caller, key, request_id
        self._fingerprint = ""
        self._jobs = 0
        self._rejected: list[StoredRejection] = []
        self._first: OCRError | None = None

    async def submit(self, form: Form) -> None:
        """Raises the first file's error where none could be accepted, and ``IdempotencyMismatch``."""
        if self._key:
            self._fingerprint = await fingerprint(form.files, self._submit_options)
            await self._store.batches.check(self.id, self._fingerprint)
        for at, file in enumerate(form.files):
            await self._submit(file, f"{at}/{len(form.files)}")
        if not self._jobs and self._first is not None:
            await self._store.batches.drop(self.id)
            raise self._first
        await self._store.batches.close(self.id, self._rejected)

    async def _submit(self, file: UploadFile, place: str) -> None:
        try:
            upload = await self._submissions.receive_upload(file, self._submit_options)
            if not self._jobs:
                await self._store.batches.create(self._caller.owner, self.id, self._fingerprint)
            key = f"batch:{self._key}:{place}" if self._key else None
            submitter = Submitter(self._caller.owner, key, self.id, self._caller.page_quota)
            await self._submissions.submit(upload, self._submit_options, submitter)
            self._jobs += 1
        except (IdempotencyMismatch, StoreUnavailable):
            raise
        except OCRError as error:
            self._reject(file, error)

    def _reject(self, file: UploadFile, error: OCRError) -> None:
        self._first = self._first or error
        problem = describe(error, self._request_id).model_dump()
        self._rejected.append(StoredRejection(filename=clean_filename(file.filename or ""), problem=problem))


async def fingerprint(files: Sequence[UploadFile], submit_options: SubmitOptions) -> str:
    """Digest of all files in their order and of the options: what an Idempotency-Key of a batch stands for."""
    whole = hashlib.sha256(submit_options.fingerprint().encode())
    for file in files:
        # Starlette's spooled file can readinto, which its declared type does not say.
        one = await asyncio.to_thread(hashlib.file_digest, file.file, "sha256")  # type: ignore[arg-type]
        await file.seek(0)
        whole.update(one.digest())
    return whole.hexdigest()


def batch_id(owner: str, key: str | None) -> str:
    """A new id; with an Idempotency-Key the same one every time."""
    if key is None:
        return str(ULID())
    return str(ULID(hashlib.sha256(f"{owner}\n{key}".encode()).digest()[:16]))


async def _view(store: Store, batch: StoredBatch, base_url: str) -> BatchView:
    jobs = [view.brief(job, base_url) for job in await store.jobs_of(batch)]
    return BatchView(
        id=batch.id,
        created_at=view.timestamp(batch.created_at) or "",
        counts=dict(Counter(job.status for job in jobs)),
        jobs=jobs,
        rejected=[RejectedFile.model_validate(file.model_dump()) for file in batch.rejected],
    )
