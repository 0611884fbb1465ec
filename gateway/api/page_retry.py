"""One page read again with other options, as a job of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict

from gateway.api.forms import Form, idempotency_key
from gateway.api.openapi import created
from gateway.api.problems import answers
from gateway.api.submission import ReceivedUpload, Submitter, digest
from gateway.dependencies import CallerDep, JobAnswerDep, StoreDep, SubmissionsDep
from shared.contract import view
from shared.contract.job import StoredJob
from shared.contract.options import MathFormat, ModeName, Options, ReadType, TableFormat, TextLayer
from shared.errors import NotFound
from shared.sniff import WEBP
from shared.upload_check import UploadInfo

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class PageRetry(BaseModel):
    """Options to read the page with, as of a submission. What is left out stays as it was."""

    model_config = ConfigDict(extra="forbid")

    type: ReadType | None = None
    mode: ModeName | None = None
    prompt: str | None = None
    table: TableFormat | None = None
    math: MathFormat | None = None
    languages: str | None = None

    def fields(self) -> dict[str, str]:
        """As the form of a submission has them."""
        return {name: str(value) for name, value in self.model_dump(mode="json", exclude_none=True).items() if value}


@router.post(
    "/{job_id}/pages/{number}/retry", status_code=202, summary="Retry a page",
    responses=created(view.JobView)
    | answers(400, "prompt-too-long", "bad-prompt", 404, 410, 422, "queue-full", 429, "store-full"),
)  # fmt: skip
async def retry_page(
    job_id: str,
    number: int,
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    submissions: SubmissionsDep,
    answer: JobAnswerDep,
    asked: Annotated[PageRetry, Body(default_factory=PageRetry)],
) -> view.JobView:
    """Submits the kept image of the page as a new job. The job it belongs to, its result and its webhooks stay.

    The new job's `metadata` is `{"retry_of": JOB, "page": N}`; it counts and is limited as any submission.
    """
    job = await store.job(job_id, caller.owner, pages=False)
    image = await store.page_image(job_id, number)
    if image is None:
        raise NotFound(f"No image of page {number} is kept, so it cannot be retried")
    key = idempotency_key(request)
    await submissions.refuse_when_full(request)
    form = await submissions.check_form(Form(asked.fields(), ()))
    options = with_fields(job.options, form.options, asked.fields())
    submit_options = replace(form, options=options, metadata={"retry_of": job_id, "page": number}, cache=False)
    submitter = Submitter(caller.owner, key, page_quota=caller.page_quota)
    submitted = await submissions.submit(await upload_of(job, number, image), submit_options, submitter)
    return answer.show(submitted.job or await store.job(submitted.job_id, caller.owner), 202)


def with_fields(before: Options, asked: Options, fields: dict[str, str]) -> Options:
    """The options of the job, and those that were asked for now. The image has no text layer."""
    changed = {name: getattr(asked, name) for name in fields}
    return before.model_copy(update=changed | {"text_layer": TextLayer.IGNORE})


async def upload_of(job: StoredJob, number: int, image: bytes) -> ReceivedUpload:
    """The page's image as if it had been sent; the gateway itself has kept it, so it is not checked again."""
    sha256 = await asyncio.to_thread(digest, image)
    name = f"{PurePath(job.input.filename).stem}, page {number}.webp"
    return ReceivedUpload(image, len(image), sha256, name, UploadInfo(WEBP, 1, (1,)))
