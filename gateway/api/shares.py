"""Share links: one job to read, for whoever has the link."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import BaseUrlDep, CallerDep, SharesDep, StoreDep
from shared.contract import view
from shared.errors import Unauthorized

router = APIRouter(prefix="/api/v1", tags=["results"])

DAY_SECONDS: Final = 24 * 3600
MAX_SHARE_SECONDS: Final = 365 * DAY_SECONDS


class ShareOptions(BaseModel):
    """``expires_in``: seconds; the link never outlives the result."""

    expires_in: int = Field(7 * DAY_SECONDS, ge=60, le=MAX_SHARE_SECONDS)


class ShareLink(BaseModel):
    """``url`` opens the document to read, without a key."""

    url: str
    expires_at: str


class SharedJob(BaseModel):
    job: str


@router.post("/jobs/{job_id}/share", status_code=201, summary="Share a job", responses=answers(400, 401, 404))
async def share_job(
    job_id: str,
    caller: CallerDep,
    store: StoreDep,
    shares: SharesDep,
    base_url: BaseUrlDep,
    options: ShareOptions | None = None,
) -> ShareLink:
    """A link that reads this job until it expires, the result expires, or the job's owner revokes it."""
    job = await store.job(job_id, caller.owner, pages=False)
    seconds = (options or ShareOptions()).expires_in
    if job.expires_at is not None:
        seconds = max(1, min(seconds, int(job.expires_at - job.seen_at)))
    token = await shares.create(job.id, job.owner, seconds)
    return ShareLink(url=f"{base_url}/s/{token}", expires_at=view.timestamp(time.time() + seconds) or "")


@router.delete(
    "/jobs/{job_id}/share", status_code=204, summary="Revoke every link of a job", responses=answers(401, 404)
)
async def revoke_shares(job_id: str, caller: CallerDep, store: StoreDep, shares: SharesDep) -> None:
    job = await store.job(job_id, caller.owner, pages=False)
    await shares.revoke(job.id)


@router.get("/shared", summary="Resolve a share link", responses=answers(400, 401))
async def shared_job(
    request: Request, shares: SharesDep, token: Annotated[str, Query(description="of the link")]
) -> SharedJob:
    """For the page that a share link opens; takes no key."""
    share = await shares.find(token)
    if share is None:
        raise Unauthorized("The link has expired or was revoked")
    return SharedJob(job=share.job_id)
