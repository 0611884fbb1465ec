"""The client: submit, wait or follow, fetch. One method per call of the HTTP API, retried where that is safe."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from ocr_client.errors import JobEnded, Problem, TimedOut
from ocr_client.models import Batch, Event, Job, Listed
from ocr_client.transport import RETRIED_STATUSES, Transport, retry_after

JOBS = "/api/v1/jobs"
BATCHES = "/api/v1/batches"
RESPONSE_SECONDS = 60.0  # for a response, beyond the wait it was asked for
LONG_POLL_SECONDS = 30
WATCHED_POLL_SECONDS = 2
SILENCE_SECONDS = 45.0  # the service sends a comment every 15 s
RECONNECT_SECONDS = 3.0  # unless the service asks for another pause

Source = str | Path | bytes
Watcher = Callable[[Job], object]


class StreamPosition:
    """How far an event stream has been read, and the pause the service asks for before a reconnection."""

    def __init__(self, after: str | None) -> None:
        self.after, self.pause, self.over = after, RECONNECT_SECONDS, False

    def note(self, message: ServerSentEvent) -> None:
        self.after = message.id or self.after
        self.pause = message.retry / 1000 if message.retry is not None else self.pause
        self.over = message.event == "done"


class Client:
    """``patience``: how many seconds to retry over outages, 429 and 503. Not thread-safe: use one per thread."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(RESPONSE_SECONDS, connect=10.0)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._transport = Transport(self._http, patience)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- in one go

    def read(self, source: Source, *, timeout: float | None = None, **options: Any) -> str:
        """The Markdown of a file. Raises ``Problem``, ``JobEnded``, ``TimedOut`` or ``Unreachable``."""
        job = self.wait(self.submit(source, **options), timeout=timeout)
        return self.result(job).decode()

    # -- jobs

    def submit(self, source: Source, *, filename: str | None = None, key: str | None = None, **options: Any) -> Job:
        """Send a file: a path, or its bytes with a ``filename``. ``options`` are the form's fields.

        ``key`` is the Idempotency-Key: the same key and file give the same job. Raises ``Problem`` or ``Unreachable``.
        """
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        files = [_part(source, filename)]
        response = self._transport.send("POST", JOBS, files=files, data=_fields(options), headers=headers)
        return Job.from_json(response.json())

    def job(self, job: Job | str, *, wait: int = 0) -> Job:
        """The job as it is now, or as it is once it has ended or ``wait`` seconds (at most 60) have passed."""
        return Job.from_json(self._get_job(job, wait).json())

    def wait(self, job: Job | str, *, timeout: float | None = None, watcher: Watcher | None = None) -> Job:
        """Wait for the job to end, in whichever state. ``watcher`` is called with each state of it that was fetched."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        longest = LONG_POLL_SECONDS if watcher is None else WATCHED_POLL_SECONDS
        while True:
            left = LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            response = self._get_job(job, max(0, min(longest, round(left))))
            seen = Job.from_json(response.json())
            if watcher is not None:
                watcher(seen)
            if seen.finished:
                return seen
            if left <= 0:
                raise TimedOut(f"{seen.filename} was not read within {timeout:g} s; job {seen.id} continues")
            if "preference-applied" not in response.headers:
                time.sleep(min(left, retry_after(response) or 1.0))

    def _get_job(self, job: Job | str, wait: int) -> httpx.Response:
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        return self._transport.send("GET", f"{JOBS}/{_id(job)}", headers=headers, timeout=RESPONSE_SECONDS + wait)

    def jobs(self, *, status: str | None = None) -> Iterator[Job]:
        """Every job of this caller, newest first."""
        query = {"status": status} if status else {}
        while True:
            part = Listed.from_json(self._transport.send("GET", JOBS, params=query).json())
            yield from part.jobs
            if part.next_cursor is None:
                return
            query["cursor"] = part.next_cursor

    def cancel(self, job: Job | str) -> None:
        """Stop it. Raises ``Problem`` with the code ``already-finished`` if it has ended."""
        self._transport.send("POST", f"{JOBS}/{_id(job)}/cancel")

    def delete(self, job: Job | str) -> None:
        """Delete job, upload and result."""
        self._transport.send("DELETE", f"{JOBS}/{_id(job)}")

    # -- results

    def result(self, job: Job | str, kind: str = "md") -> bytes:
        """The document as ``md``, ``json``, ``html``, ``txt`` or ``zip``; text is UTF-8.

        Raises ``JobEnded`` if there is none, ``Problem`` with the code ``not-finished`` while pages are missing.
        """
        if isinstance(job, Job) and job.finished and not job.has_result:
            raise JobEnded(job)
        return self._fetch(f"{JOBS}/{_id(job)}/result", kind)

    def page(self, job: Job | str, number: int, kind: str = "md") -> bytes:
        """One page of it, as soon as it has been read."""
        return self._fetch(f"{JOBS}/{_id(job)}/pages/{number}", kind)

    def _fetch(self, path: str, kind: str) -> bytes:
        response = self._transport.send("GET", path, params={"format": kind})
        if response.status_code == 202:
            raise Problem(202, "not-finished", "The job has not finished yet")
        return response.content

    # -- as it happens

    def events(self, job: Job | str, *, after: str | None = None) -> Iterator[Event]:
        """The job's events from the first (or the one after the id ``after``) to ``done``.

        A lost connection is resumed where it broke: no event is missed and none comes twice.
        """
        place = StreamPosition(after)
        patience = self._transport.patience()
        while not place.over:
            try:
                for event in self._listen(job, place):
                    patience.renew()
                    yield event
            except httpx.TransportError as error:
                patience.pause(self._transport.unreachable(error))
            except Problem as problem:
                if problem.status not in RETRIED_STATUSES:
                    raise
                patience.pause(problem)
            else:
                time.sleep(0 if place.over else place.pause)

    def _listen(self, job: Job | str, place: StreamPosition) -> Iterator[Event]:
        """The events of one connection."""
        headers = {"Last-Event-ID": place.after} if place.after else {}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=10.0)
        with connect_sse(self._http, "GET", f"{JOBS}/{_id(job)}/events", headers=headers, timeout=timeout) as source:
            place.over = source.response.status_code == 204
            if not source.response.is_success:
                source.response.read()
                raise Problem.from_response(source.response)
            for message in () if place.over else source.iter_sse():
                place.note(message)
                if message.data:
                    yield Event(message.id, message.event, json.loads(message.data))

    # -- many files

    def submit_batch(self, sources: Iterable[Source], *, key: str | None = None, **options: Any) -> Batch:
        """Submit many files with one set of options; ``rejected`` names those that were refused."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        files = [_part(source, None) for source in sources]
        response = self._transport.send("POST", BATCHES, files=files, data=_fields(options), headers=headers)
        return Batch.from_json(response.json())

    def batch(self, batch: Batch | str) -> Batch:
        name = batch.id if isinstance(batch, Batch) else batch
        return Batch.from_json(self._transport.send("GET", f"{BATCHES}/{name}").json())


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def _part(source: Source, filename: str | None) -> tuple[str, tuple[str, bytes]]:
    if isinstance(source, bytes):
        return "file", (filename or "upload", source)
    return "file", (filename or Path(source).name, Path(source).read_bytes())


def _fields(options: dict[str, Any]) -> dict[str, str]:
    """Form fields: None is left out, and every other value that is not a string is written as JSON."""
    given = {name: value for name, value in options.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
