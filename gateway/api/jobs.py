"""Jobs: submit, look at, list, cancel, forget."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from gateway.api.forms import FIELDS, Form, idempotency_key, read_form
from gateway.api.long_poll import Prefers, Waits, wait_for
from gateway.api.openapi import JOB_FORM, created, etagged
from gateway.api.problems import answers
from gateway.api.responses import base_url, etag, job_answer, json_answer, matches, unchanged
from gateway.api.submission import Sender, check_form, refuse_when_full, submit, take_in
from gateway.dependencies import Caller, Who
from gateway.services import House, Services
from shared.contract import view
from shared.contract.job import Job
from shared.errors import AlreadyFinished, BadOption, NotFound, ResultExpired

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

Status = Literal["queued", "processing", "succeeded", "partial", "failed", "cancelled"]


class JobList(BaseModel):
    """Newest first. ``next_cursor`` is null on the last page."""

    items: list[view.JobBrief]
    next_cursor: str | None


@router.post(
    "", status_code=202, summary="Submit a file", responses=created(view.JobView) | answers(400, 410, 413, 422, 429),
    openapi_extra=JOB_FORM,
)  # fmt: skip
async def submit_job(request: Request, house: House, who: Who, wait: Prefers) -> Response:
    """One file becomes one job. Every page range, option and limit is checked before anything is stored."""
    key = idempotency_key(request)
    await refuse_when_full(house, request)
    async with read_form(request, FIELDS, files=1) as form:
        job = await _submit(house, form, who, key)
    job = await wait_for(house, request, job, wait.seconds, lambda job: job.finished)
    ended_in_time = bool(wait.seconds) and job.finished
    return job_answer(house, request, job, 200 if ended_in_time else 202, wait.headers)


async def _submit(house: Services, form: Form, who: Caller, key: str | None) -> Job:
    wishes = await check_form(house, form)
    upload = await take_in(house, form.file, wishes)
    submitted = await submit(house, upload, wishes, Sender(who.owner, key, page_quota=who.page_quota))
    try:
        return await house.store.job(submitted.job_id, who.owner)
    except NotFound:
        raise ResultExpired("The job of this Idempotency-Key has been deleted") from None


@router.get("", response_model=JobList, summary="List jobs", responses=answers(400))
async def list_jobs(
    request: Request,
    house: House,
    who: Who,
    status: Annotated[Status | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="``next_cursor`` of the page before")] = None,
) -> Response:
    """The caller's own jobs, newest first, each without its list of pages."""
    try:
        jobs, cursor = await house.store.jobs(who.owner, status=status, limit=limit, cursor=cursor)
    except NotFound:
        raise BadOption("cursor is not one that was given out") from None
    base = base_url(house, request)
    return json_answer(
        {"items": [view.brief(job, base).model_dump(mode="json") for job in jobs], "next_cursor": cursor}
    )


@router.get(
    "/{job_id}",
    response_model=view.JobView,
    summary="Look at a job",
    responses=etagged(view.JobView) | answers(400, 404),
)
async def get_job(job_id: str, request: Request, house: House, who: Who, wait: Waits) -> Response:
    """The job as it is. With a wait: once it has ended or, given If-None-Match, once it has changed."""
    job = await house.store.job(job_id, who.owner)
    conditional = "if-none-match" in request.headers
    job = await wait_for(
        house, request, job, wait.seconds,
        lambda job: job.finished or (conditional and not matches(request, etag(job))),
    )  # fmt: skip
    if matches(request, etag(job)):
        return unchanged(job, wait.headers)
    return job_answer(house, request, job, 200, wait.headers)


@router.post(
    "/{job_id}/cancel", status_code=202, summary="Cancel a job", responses=created(view.JobView) | answers(404, 409)
)  # fmt: skip
async def cancel_job(job_id: str, request: Request, house: House, who: Who) -> Response:
    """Stop it, queued or running. Pages that were read stay readable."""
    await house.store.job(job_id, who.owner, pages=False)
    await house.store.cancel(job_id)
    return job_answer(house, request, await house.store.job(job_id, who.owner), 202)


@router.delete("/{job_id}", status_code=204, summary="Forget a job", responses=answers(404))
async def delete_job(job_id: str, house: House, who: Who) -> Response:
    """Cancel it if needed, then forget job, upload and result."""
    job = await house.store.job(job_id, who.owner, pages=False)
    if not job.finished:
        await _cancel_first(house, job_id)
    await house.store.delete(job_id)
    return Response(status_code=204)


async def _cancel_first(house: Services, job_id: str) -> None:
    """As a step of its own, so that whoever follows the job's events hears of its end before they are gone."""
    try:
        await house.store.cancel(job_id)
    except (AlreadyFinished, NotFound):
        return
