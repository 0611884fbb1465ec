"""How jobs are answered with: absolute URLs, ETag and 304, Location, Retry-After, and never from a cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from gateway.services import Services
from shared.contract import view
from shared.contract.job import Job

NO_STORE: Final = {"Cache-Control": "no-store"}
SOON: Final = 2  # seconds to come back in, where the end of the job cannot be told yet


def base_url(services: Services, request: Request) -> str:
    """Where this gateway is reached: ``public_url``, else what the request says of itself."""
    return (services.settings.public_url or str(request.base_url)).rstrip("/")


def etag(job: Job) -> str:
    """Weak: it stays while nothing but the estimate of the time left has changed."""
    still = job.queue.model_copy(update={"eta_seconds": None}) if job.queue else None
    facts = job.model_copy(update={"queue": still, "seen_at": 0.0})
    return f'W/"{hashlib.sha256(facts.model_dump_json().encode()).hexdigest()[:32]}"'


def matches(request: Request, tag: str) -> bool:
    """Whether If-None-Match names ``tag`` (weak comparison, RFC 9110 13.1.2)."""
    given = [part.strip() for line in request.headers.getlist("if-none-match") for part in line.split(",")]
    return "*" in given or tag.removeprefix("W/") in [part.removeprefix("W/") for part in given]


def retry_after(job: Job) -> dict[str, str]:
    """How soon to ask again: about when it should be done, within 1 to 60 seconds."""
    if job.finished:
        return {}
    eta = job.queue.eta_seconds if job.queue else None
    return {"Retry-After": str(min(60, max(1, math.ceil(SOON if eta is None else eta))))}


def job_answer(
    services: Services, request: Request, job: Job, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The job itself as the answer."""
    body = view.full(job, base_url(services, request))
    own = {**NO_STORE, "ETag": etag(job), **retry_after(job), **(headers or {})}
    if status == 202:
        own["Location"] = body.urls.self
    return Response(body.model_dump_json(), status, own, "application/json")


def unchanged(job: Job, headers: Mapping[str, str]) -> Response:
    """304: what the caller has is still so."""
    return Response(status_code=304, headers={**NO_STORE, "ETag": etag(job), **retry_after(job), **headers})


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(content, status, {**NO_STORE, **(headers or {})})
