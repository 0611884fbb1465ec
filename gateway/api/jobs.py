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
from gateway.api.submission import Submitter, check_form, receive_upload, refuse_when_full, submit
from gateway.dependencies import Caller, CallerDep
from gateway.services import Services, ServicesDep
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
async def submit_job(request: Request, services: ServicesDep, caller: CallerDep, wait: Prefers) -> Response:
    """One file becomes one job. Every page range, option and limit is checked before anything is stored."""
    key = idempotency_key(request)
    await refuse_when_full(services, request)
    async with read_form(request, FIELDS, files=1) as form:
        job = await _submit(services, form, caller, key)
    job = await wait_for(services, request, job, wait.seconds, lambda job: job.finished)
    ended_in_time = bool(wait.seconds) and job.finished
    return job_answer(services, request, job, 200 if ended_in_time else 202, wait.headers)


async def _submit(services: Services, form: Form, caller: Caller, key: str | None) -> Job:
    submit_options = await check_form(services, form)
    upload = await receive_upload(services, form.file, submit_options)
    submitted = await submit(
        services, upload, submit_options, Submitter(caller.owner, key, page_quota=caller.page_quota)
    )
    try:
        return await services.store.job(submitted.job_id, caller.owner)
    except NotFound:
        raise ResultExpired("The job of this Idempotency-Key has been deleted") from None


@router.get("", response_model=JobList, summary="List jobs", responses=answers(400))
async def list_jobs(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    status: Annotated[Status | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="``next_cursor`` of the page before")] = None,
) -> Response:
    """The caller's own jobs, newest first, each without its list of pages."""
    try:
        jobs, cursor = await services.store.jobs(caller.owner, status=status, limit=limit, cursor=cursor)
    except NotFound:
        raise BadOption("cursor is not one that was given out") from None
    base = base_url(services, request)
    return json_answer(
        {"items": [view.brief(job, base).model_dump(mode="json") for job in jobs], "next_cursor": cursor}
    )


@router.get(
    "/{job_id}",
    response_model=view.JobView,
    summary="Look at a job",
    responses=etagged(view.JobView) | answers(400, 404),
)
async def get_job(job_id: str, request: Request, services: ServicesDep, caller: CallerDep, wait: Waits) -> Response:
    """The job as it is. With a wait: once it has ended or, given If-None-Match, once it has changed."""
    job = await services.store.job(job_id, caller.owner)
    conditional = "if-none-match" in request.headers
    job = await wait_for(
        services, request, job, wait.seconds,
        lambda job: job.finished or (conditional and not matches(request, etag(job))),
    )  # fmt: skip
    if matches(request, etag(job)):
        return unchanged(job, wait.headers)
    return job_answer(services, request, job, 200, wait.headers)


@router.post(
    "/{job_id}/cancel", status_code=202, summary="Cancel a job", responses=created(view.JobView) | answers(404, 409)
)  # fmt: skip
async def cancel_job(job_id: str, request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Stop it, queued or running. Pages that were read stay readable."""
    await services.store.job(job_id, caller.owner, pages=False)
    await services.store.cancel(job_id)
    return job_answer(services, request, await services.store.job(job_id, caller.owner), 202)


@router.delete("/{job_id}", status_code=204, summary="Forget a job", responses=answers(404))
async def delete_job(job_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Cancel it if needed, then forget job, upload and result."""
    job = await services.store.job(job_id, caller.owner, pages=False)
    if not job.finished:
        await _cancel_first(services, job_id)
    await services.store.delete(job_id)
    return Response(status_code=204)


async def _cancel_first(services: Services, job_id: str) -> None:
    """As a step of its own, so that whoever follows the job's events hears of its end before they are gone."""
    try:
        await services.store.cancel(job_id)
    except (AlreadyFinished, NotFound):
        return
