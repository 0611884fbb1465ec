"""The errors that a call can raise.

ClientError
├── Problem       the service refused: an ``application/problem+json`` answer
├── JobEnded      the job failed or was cancelled: there is no result
├── Unreachable   no response within the client's ``patience``
└── TimedOut      the job did not end within the time the caller gave it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from ocr_client.models import Job


class ClientError(Exception):
    """Something went wrong; its text is one line for people."""


class Problem(ClientError):
    """A refusal of the service (RFC 9457). Programs go by ``code``, people read ``detail``."""

    def __init__(self, status: int, code: str, detail: str, request_id: str = "") -> None:
        super().__init__(f"{detail} ({code})")
        self.status, self.code, self.detail, self.request_id = status, code, detail, request_id

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Problem:
        return cls(body["status"], body["code"], body["detail"], body.get("request_id", ""))

    @classmethod
    def from_response(cls, response: httpx.Response) -> Problem:
        """Also for responses of a proxy in between, which are not problem+json."""
        if response.headers.get("content-type", "").startswith("application/problem+json"):
            return cls.from_json(response.json())
        return cls(response.status_code, f"http-{response.status_code}", response.reason_phrase or "No reason given")


class JobEnded(ClientError):
    """The job ended without a result; ``job`` says how."""

    def __init__(self, job: Job) -> None:
        why = f"{job.error.detail} ({job.error.code})" if job.error else f"the job was {job.status}"
        super().__init__(f"{job.filename}: {why}")
        self.job = job


class Unreachable(ClientError):
    """The service cannot be reached."""


class TimedOut(ClientError):
    """The job has not ended in time; it continues."""
