"""Short-lived tokens, for what sends no headers: a browser's EventSource, pictures and links."""

from __future__ import annotations

import time

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import AuthenticatorDep, BaseUrlDep, CallerDep, SettingsDep, StoreDep
from shared.contract import view

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class Token(BaseModel):
    """Goes into a URL as ``?token=``; reads this job and changes nothing."""

    token: str
    expires_at: str
    events: str = Field(description="URL of the job's events with the token in it")


@router.post("/{job_id}/token", status_code=201, summary="Create a URL token", responses=answers(401, 404))
async def make_token(
    job_id: str,
    caller: CallerDep,
    store: StoreDep,
    settings: SettingsDep,
    authenticator: AuthenticatorDep,
    base_url: BaseUrlDep,
) -> Token:
    """For a few minutes the token takes the place of a key in every GET of this job."""
    job = await store.job(job_id, caller.owner)
    expires_at = int(time.time()) + settings.token_ttl
    token = await authenticator.tokens.make(job.id, job.owner, expires_at)
    events = f"{view.urls(job.id, base_url).events}?token={token}"
    return Token(token=token, expires_at=view.timestamp(expires_at) or "", events=events)
