"""Building responses: absolute URLs, ETag and 304, Location, Retry-After, and never from a cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from shared.contract import view
from shared.contract.job import StoredJob

NO_STORE: Final = {"Cache-Control": "no-store"}
UNKNOWN_ETA_SECONDS: Final = 2  # Retry-After where the end of the job cannot be estimated yet
MAX_RETRY_SECONDS: Final = 60


class NoStoreResponse(Response):
    """Bytes, text or no content, kept out of caches."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers({**NO_STORE, **(headers or {})})


class JobAnswer:
    """Answers one request with a job: the view as the body, and the headers that follow from the job's state."""

    def __init__(self, request: Request, response: Response, base_url: str) -> None:
        self.conditional = "if-none-match" in request.headers
        self._request, self._response, self._base_url = request, response, base_url

    def known(self, job: StoredJob) -> bool:
        """Whether the caller holds the job as it is: ``If-None-Match`` names its ETag."""
        return matches(self._request, etag(job))

    def show(self, job: StoredJob, status: int = 200, headers: Mapping[str, str] | None = None) -> view.JobView:
        """The model that the endpoint returns; status and headers go into the response FastAPI makes of it."""
        body = view.full(job, self._base_url)
        self._response.status_code = status
        self._response.headers.update(job_headers(job) | location(body, status) | {**(headers or {})})
        return body

    def not_yet(self, job: StoredJob) -> Response:
        """202 with the job, in place of a result that is still to come."""
        body = view.full(job, self._base_url)
        headers = job_headers(job) | location(body, 202)
        return NoStoreResponse(body.model_dump_json(), 202, headers, "application/json")

    def unchanged(self, job: StoredJob, headers: Mapping[str, str]) -> Response:
        """304: the caller holds the job as it is."""
        return NoStoreResponse(status_code=304, headers=job_headers(job) | {**headers})


def job_headers(job: StoredJob) -> dict[str, str]:
    return {"ETag": etag(job), **retry_after(job)}


def location(body: view.JobView, status: int) -> dict[str, str]:
    return {"Location": body.urls.self} if status == 202 else {}


def etag(job: StoredJob) -> str:
    """Weak: it stays while nothing but the estimate of the time left has changed."""
    still = job.queue.model_copy(update={"eta_seconds": None}) if job.queue else None
    facts = job.model_copy(update={"queue": still, "seen_at": 0.0})
    return f'W/"{hashlib.sha256(facts.model_dump_json().encode()).hexdigest()[:32]}"'


def matches(request: Request, tag: str) -> bool:
    """Whether If-None-Match names ``tag`` (weak comparison, RFC 9110 13.1.2)."""
    given = [part.strip() for line in request.headers.getlist("if-none-match") for part in line.split(",")]
    return "*" in given or tag.removeprefix("W/") in [part.removeprefix("W/") for part in given]


def retry_after(job: StoredJob) -> dict[str, str]:
    """Ask the caller to return about when the job should be done, within 1 to 60 seconds."""
    if job.finished:
        return {}
    eta = job.queue.eta_seconds if job.queue else None
    seconds = math.ceil(UNKNOWN_ETA_SECONDS if eta is None else eta)
    return {"Retry-After": str(min(MAX_RETRY_SECONDS, max(1, seconds)))}
