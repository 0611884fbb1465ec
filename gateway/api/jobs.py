"""Jobs: submit, look at, list, cancel, forget."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from gateway.api.bodies import read_submission
from gateway.api.forms import FIELDS, MAX_KEY_CHARS, idempotency_key
from gateway.api.job_filter import RFC3339, JobFilter, metadata_of, time_of
from gateway.api.long_poll import Prefers, Waits
from gateway.api.openapi import JOB_FORM, created, etagged
from gateway.api.problems import UPLOAD, answers
from gateway.api.submission import Submitter
from gateway.dependencies import (
    BaseUrlDep,
    CallerDep,
    DocumentsDep,
    JobAnswerDep,
    LongPollDep,
    StoreDep,
    SubmissionsDep,
)
from shared.contract import view
from shared.contract.job import StoredJob
from shared.contract.states import JobStatus
from shared.errors import AlreadyFinished, BadOption, NotFound, ResultExpired
from shared.store.jobs import Store

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

TIME: Final[dict[str, Any]] = {"pattern": RFC3339, "json_schema_extra": {"format": "date-time"}}


class JobList(BaseModel):
    """Newest first. ``next_cursor`` is null on the last page."""

    items: list[view.JobBrief]
    next_cursor: str | None


@router.post(
    "", status_code=202, summary="Submit a file", openapi_extra=JOB_FORM,
    responses=created(view.JobView) | answers(*UPLOAD, "bad-document-url", 410, 422),
)  # fmt: skip
async def submit_job(
    request: Request,
    caller: CallerDep,
    wait: Prefers,
    submissions: SubmissionsDep,
    store: StoreDep,
    long_poll: LongPollDep,
    answer: JobAnswerDep,
    documents: DocumentsDep,
) -> view.JobView:
    """One file becomes one job. Every page range, option and limit is checked before anything is stored."""
    submitter = Submitter(caller.owner, idempotency_key(request), page_quota=caller.page_quota)
    await submissions.refuse_when_full(request, submitter)
    async with read_submission(request, FIELDS, documents) as form:
        submit_options = await submissions.check_form(form)
        upload = await submissions.receive_upload(form.file, submit_options)
        submitted = await submissions.submit(upload, submit_options, submitter)
    job = submitted.job or await _earlier(store, submitted.job_id, caller.owner)
    job = await long_poll.until(job, wait.seconds, lambda job: job.finished)
    ended_in_time = bool(wait.seconds) and job.finished
    return answer.show(job, 200 if ended_in_time else 202, wait.headers)


async def _earlier(store: Store, job_id: str, owner: str) -> StoredJob:
    try:
        return await store.job(job_id, owner)
    except NotFound:
        raise ResultExpired("The job of this Idempotency-Key has been deleted") from None


@router.get("", summary="List jobs", responses=answers(400))
async def list_jobs(
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    base_url: BaseUrlDep,
    status: Annotated[JobStatus | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="``next_cursor`` of the page before")] = None,
    q: Annotated[str | None, Query(max_length=200, description="part of the file's name; letter case aside")] = None,
    batch: Annotated[str | None, Query(max_length=64, description="only jobs of this batch")] = None,
    since: Annotated[str | None, Query(description="submitted at or after this time", **TIME)] = None,
    until: Annotated[str | None, Query(description="submitted before this time", **TIME)] = None,
    idempotency_key: Annotated[
        str | None, Query(max_length=MAX_KEY_CHARS, description="the one job that was submitted with this key")
    ] = None,
) -> JobList:
    """The caller's own jobs, newest first, each without its list of pages.

    `metadata.NAME=VALUE` finds jobs by their metadata. A list with filters may end a page early: go on by the cursor.
    """
    wanted = JobFilter(q, batch, time_of(since), time_of(until), metadata_of(request))
    keep = wanted.keeps if wanted.any else None
    if idempotency_key is not None:
        only = await store.job_of_key(caller.owner, idempotency_key)
        kept = [only] if only is not None and status in (None, only.status) and wanted.keeps(only) else []
        return JobList(items=[view.brief(job, base_url) for job in kept], next_cursor=None)
    try:
        jobs, cursor = await store.jobs(caller.owner, status=status, limit=limit, cursor=cursor, keep=keep)
    except NotFound:
        raise BadOption("cursor is not valid: pass next_cursor of the page before") from None
    return JobList(items=[view.brief(job, base_url) for job in jobs], next_cursor=cursor)


@router.get(
    "/{job_id}",
    response_model=view.JobView,
    summary="Get a job",
    responses=etagged(view.JobView) | answers(400, 404),
)
async def get_job(
    job_id: str, caller: CallerDep, wait: Waits, store: StoreDep, long_poll: LongPollDep, answer: JobAnswerDep
) -> view.JobView | Response:
    """The job as it is. With a wait: once it has ended or, given If-None-Match, once it has changed."""
    job = await store.job(job_id, caller.owner)
    job = await long_poll.until(
        job, wait.seconds, lambda job: job.finished or (answer.conditional and not answer.known(job))
    )
    return answer.unchanged(job, wait.headers) if answer.known(job) else answer.show(job, 200, wait.headers)


@router.post(
    "/{job_id}/cancel", status_code=202, summary="Cancel a job",
    responses=created(view.JobView) | answers(404, "already-finished"),
)  # fmt: skip
async def cancel_job(job_id: str, caller: CallerDep, store: StoreDep, answer: JobAnswerDep) -> view.JobView:
    """Stop it, queued or running. Pages that were read stay readable."""
    await store.job(job_id, caller.owner, pages=False)
    await store.cancel(job_id)
    return answer.show(await store.job(job_id, caller.owner), 202)


@router.delete("/{job_id}", status_code=204, response_class=Response, summary="Delete a job", responses=answers(404))
async def delete_job(job_id: str, caller: CallerDep, store: StoreDep) -> None:
    """Cancel it if needed, then forget job, upload and result."""
    job = await store.job(job_id, caller.owner, pages=False)
    if not job.finished:
        await _cancel_first(store, job_id)
    await store.delete(job_id)


async def _cancel_first(store: Store, job_id: str) -> None:
    """As a step of its own, so that followers of the job's events see its end before they are deleted."""
    try:
        await store.cancel(job_id)
    except (AlreadyFinished, NotFound):
        return
