"""Batches: many files in one request, one verdict for each."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from ulid import ULID

from gateway.api.filenames import clean_filename
from gateway.api.forms import FIELDS, Form, SubmitOptions, idempotency_key, read_form
from gateway.api.openapi import BATCH_FORM, LOCATION, Responses
from gateway.api.problems import ProblemDetails, answers, describe, request_id
from gateway.api.responses import base_url, json_answer
from gateway.api.submission import Submitter, check_form, receive_upload, refuse_when_full, submit
from gateway.dependencies import Caller, CallerDep
from gateway.services import Services, ServicesDep
from shared.contract import view
from shared.errors import IdempotencyMismatch, NotFound, OCRError, StoreUnavailable
from shared.store.jobs import Batch

router = APIRouter(prefix="/api/v1/batches", tags=["batches"])


class RejectedFile(BaseModel):
    filename: str
    problem: ProblemDetails


class BatchView(BaseModel):
    """``counts``: jobs by status. A job that has been deleted, or forgotten after its time, is counted no more."""

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
    responses=ACCEPTED | answers(400, 413, 422, 429),
)  # fmt: skip
async def submit_batch(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """One bad file does not spoil the rest. Where none could be taken, the answer is the first one's problem."""
    key = idempotency_key(request)
    await refuse_when_full(services, request)
    async with read_form(request, FIELDS, files=services.settings.max_batch_files) as form:
        submit_options = await check_form(services, form)
        intake = Intake(services, submit_options, caller, key, request_id(request))
        await intake.take(form)
    batch = await services.store.batch(intake.id, caller.owner)
    headers = {"Location": f"{base_url(services, request)}/api/v1/batches/{batch.id}"}
    return json_answer(await _view(services, request, batch), 202, headers)


@router.get("/{batch_id}", response_model=BatchView, summary="Look at a batch", responses=answers(404))
async def get_batch(batch_id: str, request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    if not BATCH_ID.fullmatch(batch_id):
        raise NotFound("There is no such batch")
    batch = await services.store.batch(batch_id, caller.owner)
    return json_answer(await _view(services, request, batch))


class Intake:
    """The files of one request, taken one after the other, so that only one is in memory."""

    def __init__(
        self, services: Services, submit_options: SubmitOptions, caller: Caller, key: str | None, asked: str
    ) -> None:
        self.id = batch_id(caller.owner, key)
        self._services, self._submit_options, self._caller, self._key, self._asked = (
            services,
            submit_options,
            caller,
            key,
            asked,
        )
        self._fingerprint = ""
        self._jobs = 0
        self._rejected: list[dict[str, Any]] = []
        self._first: OCRError | None = None

    async def take(self, form: Form) -> None:
        if self._key:
            self._fingerprint = await fingerprint(form.files, self._submit_options)
            await self._services.store.check_batch(self.id, self._fingerprint)
        for at, file in enumerate(form.files):
            await self._take(file, f"{at}/{len(form.files)}")
        if not self._jobs and self._first is not None:
            await self._services.store.drop_batch(self.id)
            raise self._first
        await self._services.store.close_batch(self.id, self._rejected)

    async def _take(self, file: UploadFile, place: str) -> None:
        try:
            upload = await receive_upload(self._services, file, self._submit_options)
            if not self._jobs:
                await self._services.store.create_batch(self._caller.owner, self.id, self._fingerprint)
            key = f"batch:{self._key}:{place}" if self._key else None
            submitter = Submitter(self._caller.owner, key, self.id, self._caller.page_quota)
            await submit(self._services, upload, self._submit_options, submitter)
            self._jobs += 1
        except (IdempotencyMismatch, StoreUnavailable):
            raise
        except OCRError as error:
            await self._reject(file, error)

    async def _reject(self, file: UploadFile, error: OCRError) -> None:
        self._first = self._first or error
        verdict = {"filename": clean_filename(file.filename or ""), "problem": describe(error, self._asked)}
        self._rejected.append(verdict)


async def fingerprint(files: Sequence[UploadFile], submit_options: SubmitOptions) -> str:
    """Of all files in their order, and what is wished of them: what an Idempotency-Key of a batch stands for."""
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


async def _view(services: Services, request: Request, batch: Batch) -> dict[str, Any]:
    base = base_url(services, request)
    jobs = [view.brief(job, base).model_dump(mode="json") for job in await services.store.jobs_of(batch)]
    return {
        "id": batch.id,
        "object": "ocr.batch",
        "created_at": view.timestamp(batch.created_at),
        "counts": dict(Counter(job["status"] for job in jobs)),
        "jobs": jobs,
        "rejected": list(batch.rejected),
    }
