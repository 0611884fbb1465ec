"""Every call of the HTTP API as a value: what is sent, and how the response is read. Both clients send these."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import httpx

from ocr_client.errors import JobEnded, Problem
from ocr_client.models import Batch, Hit, Job

JOBS = "/api/v1/jobs"
BATCHES = "/api/v1/batches"
RESPONSE_SECONDS = 60.0  # for a response, beyond the wait it was asked for

Source = str | Path | bytes
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """``request``: arguments of httpx. ``uploads``: name and source of every file; paths are streamed from disk."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    request: Mapping[str, Any] = field(default_factory=dict)
    uploads: tuple[tuple[str, Source], ...] = ()

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """The arguments of one try; its files are open as long as the block."""
        with ExitStack() as open_files:
            files: list[tuple[str, tuple[str, bytes | BinaryIO]]] = []
            for name, source in self.uploads:
                content = source if isinstance(source, bytes) else open_files.enter_context(_open(source))
                files.append(("file", (name, content)))
            yield {**self.request, **({"files": files} if files else {})}


def submit(source: Source, filename: str | None, key: str | None, options: Mapping[str, Any]) -> Call[Job]:
    return Call(
        "POST", JOBS, _job, {"data": form_fields(options), "headers": _idempotency(key)}, (_upload(source, filename),)
    )


def submit_batch(sources: Iterable[Source], key: str | None, options: Mapping[str, Any]) -> Call[Batch]:
    request = {"data": form_fields(options), "headers": _idempotency(key)}
    return Call("POST", BATCHES, _batch, request, tuple(_upload(source, None) for source in sources))


def content_key(sha256: str, options: Mapping[str, Any], attempt: int = 0) -> str:
    """The Idempotency-Key of a file's content and the options it is read with. ``attempt``: to read it once more."""
    told = json.dumps([sha256, sorted(form_fields(options).items()), attempt])
    return f"content-{hashlib.sha256(told.encode()).hexdigest()}"


def find(key: str) -> Call[Job | None]:
    """The job that was submitted with this Idempotency-Key, None if there is none any more."""

    def read(response: httpx.Response) -> Job | None:
        return next(map(Job.from_json, response.json()["items"]), None)

    return Call("GET", JOBS, read, {"params": {"idempotency_key": key}})


def submit_url(url: str, options: Mapping[str, Any]) -> Call[Job]:
    """A document that the service fetches itself, where it is allowed to."""
    body = {"document_url": url, **{name: value for name, value in options.items() if value is not None}}
    return Call("POST", JOBS, _job, {"json": body, "headers": _idempotency(None)})


def retry_page(job: Job | str, number: int, options: Mapping[str, Any]) -> Call[Job]:
    body = {name: value for name, value in options.items() if value is not None}
    path = f"{job_path(job)}/pages/{number}/retry"
    return Call("POST", path, _job, {"json": body, "headers": _idempotency(None)})


def look(job: Job | str, wait: int, etag: str | None = None) -> Call[httpx.Response]:
    """The response as it is: its headers say how long to wait. ``etag``: answer once the job is no longer like this."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    headers |= {"If-None-Match": etag} if etag else {}
    return Call("GET", job_path(job), _as_it_is, {"headers": headers, "timeout": RESPONSE_SECONDS + wait})


def list_jobs(status: str | None, cursor: str | None) -> Call[tuple[list[Job], str | None]]:
    """One page of the list, and the cursor of the next."""
    query = {name: value for name, value in (("status", status), ("cursor", cursor)) if value is not None}

    def read(response: httpx.Response) -> tuple[list[Job], str | None]:
        body = response.json()
        return [Job.from_json(job) for job in body["items"]], body["next_cursor"]

    return Call("GET", JOBS, read, {"params": query})


def cancel(job: Job | str) -> Call[None]:
    return Call("POST", f"{job_path(job)}/cancel", _nothing)


def delete(job: Job | str) -> Call[None]:
    return Call("DELETE", job_path(job), _nothing)


def result(job: Job | str, kind: str) -> Call[bytes]:
    """Raises ``JobEnded`` for a job that is known to have no result."""
    if isinstance(job, Job) and job.finished and not job.has_result:
        raise JobEnded(job)
    return Call("GET", f"{job_path(job)}/result", _finished, {"params": {"format": kind}})


def page(job: Job | str, number: int, kind: str) -> Call[bytes]:
    return Call("GET", f"{job_path(job)}/pages/{number}", _finished, {"params": {"format": kind}})


def page_image(job: Job | str, number: int, *, boxes: bool) -> Call[bytes]:
    query = {"boxes": "true"} if boxes else {}
    return Call("GET", f"{job_path(job)}/pages/{number}/image", _finished, {"params": query})


def search(text: str) -> Call[list[Hit]]:
    def read(response: httpx.Response) -> list[Hit]:
        return [Hit.from_json(item) for item in response.json()["items"]]

    return Call("GET", "/api/v1/search", read, {"params": {"q": text}})


def batch(batch: Batch | str) -> Call[Batch]:
    return Call("GET", f"{BATCHES}/{batch.id if isinstance(batch, Batch) else batch}", _batch)


def job_path(job: Job | str) -> str:
    return f"{JOBS}/{job.id if isinstance(job, Job) else job}"


def form_fields(options: Mapping[str, Any]) -> dict[str, str]:
    """Form fields: None is left out, and every other value that is not a string is written as JSON."""
    given = {name: value for name, value in options.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def _open(source: str | Path) -> BinaryIO:
    return Path(source).open("rb")


def _upload(source: Source, filename: str | None) -> tuple[str, Source]:
    return filename or ("upload" if isinstance(source, bytes) else Path(source).name), source


def _idempotency(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def _job(response: httpx.Response) -> Job:
    return Job.from_json(response.json())


def _batch(response: httpx.Response) -> Batch:
    return Batch.from_json(response.json())


def _as_it_is(response: httpx.Response) -> httpx.Response:
    return response


def _nothing(_: httpx.Response) -> None:
    return None


def _finished(response: httpx.Response) -> bytes:
    if response.status_code == 202:
        raise Problem(202, "not-finished", "The job has not finished yet")
    return response.content
