"""The client: submit, wait or follow, fetch. One method per call of the HTTP API, retried where that is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import connect_sse

from ocr_client import calls
from ocr_client.calls import RESPONSE_SECONDS, Source, job_path
from ocr_client.document import Document, FileOutcome
from ocr_client.errors import ClientError, Problem, TimedOut
from ocr_client.event_stream import StreamPosition
from ocr_client.models import Batch, Event, Hit, Job
from ocr_client.transport import RETRIED_STATUSES, Transport, retry_after, unreachable

LONG_POLL_SECONDS = 30
WATCHED_POLL_SECONDS = 2

Watcher = Callable[[Job], object]


class Client:
    """``patience``: how many seconds to retry over outages, 429 and 503. Threads may share it."""

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

    def read(self, source: Source, *, timeout: float | None = None, **options: Any) -> Document:
        """Submit a file, wait, fetch. Raises ``Problem``, ``JobEnded``, ``TimedOut`` or ``Unreachable``."""
        return self.document(self.wait(self.submit(source, **options), timeout=timeout))

    def read_many(self, sources: Iterable[Source], *, concurrency: int = 8, **options: Any) -> Iterator[FileOutcome]:
        """Read files as ``sources`` gives them, ``concurrency`` at once; each is yielded when it is done.

        A file that cannot be read yields its error. Leaving the loop early waits for the files that are under way.
        """
        waiting = iter(sources)
        with ThreadPoolExecutor(concurrency, thread_name_prefix="read") as threads:
            running = {threads.submit(self._outcome, source, options) for source in islice(waiting, concurrency)}
            while running:
                done, running = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                running |= {threads.submit(self._outcome, source, options) for source in islice(waiting, len(done))}
                yield from (future.result() for future in done)

    def _outcome(self, source: Source, options: dict[str, Any]) -> FileOutcome:
        try:
            return FileOutcome(source, self.read(source, **options), None)
        except (ClientError, OSError) as error:
            return FileOutcome(source, None, error)

    # -- jobs

    def submit(self, source: Source, *, filename: str | None = None, key: str | None = None, **options: Any) -> Job:
        """Send a file: a path, streamed from disk, or its bytes with a ``filename``. ``options``: the form's fields.

        ``key`` is the Idempotency-Key: the same key and file give the same job. Raises ``Problem`` or ``Unreachable``.
        """
        return self._transport.send(calls.submit(source, filename, key, options))

    def submit_url(self, url: str, **options: Any) -> Job:
        """Have the service fetch a document, where its ``DOCUMENT_URLS`` allows it."""
        return self._transport.send(calls.submit_url(url, options))

    def find(self, key: str) -> Job | None:
        """The job that was submitted with this Idempotency-Key, without its pages; None if there is none (any more)."""
        return self._transport.send(calls.find(key))

    def retry_page(self, job: Job | str, number: int, **options: Any) -> Job:
        """Have one page read again, as a job of its own. ``options``: ``type``, ``mode``, ``prompt`` …"""
        return self._transport.send(calls.retry_page(job, number, options))

    def job(self, job: Job | str, *, wait: int = 0) -> Job:
        """The job as it is now, or as it is once it has ended or ``wait`` seconds (at most 60) have passed."""
        return Job.from_json(self._transport.send(calls.look(job, wait)).json())

    def wait(self, job: Job | str, *, timeout: float | None = None, watcher: Watcher | None = None) -> Job:
        """Wait for the job to end, in whichever state. ``watcher`` is called with each state of it that was fetched."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        longest = LONG_POLL_SECONDS if watcher is None else WATCHED_POLL_SECONDS
        while True:
            left = LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            response = self._transport.send(calls.look(job, max(0, min(longest, round(left)))))
            seen = Job.from_json(response.json())
            if watcher is not None:
                watcher(seen)
            if seen.finished:
                return seen
            if left <= 0:
                raise TimedOut(f"{seen.filename} was not read within {timeout:g} s; job {seen.id} continues")
            if "preference-applied" not in response.headers:
                time.sleep(min(left, retry_after(response) or 1.0))

    def jobs(self, *, status: str | None = None) -> Iterator[Job]:
        """Every job of this caller, newest first."""
        cursor: str | None = None
        while True:
            found, cursor = self._transport.send(calls.list_jobs(status, cursor))
            yield from found
            if cursor is None:
                return

    def cancel(self, job: Job | str) -> None:
        """Stop it. Raises ``Problem`` with the code ``already-finished`` if it has ended."""
        self._transport.send(calls.cancel(job))

    def delete(self, job: Job | str) -> None:
        """Delete job, upload and result."""
        self._transport.send(calls.delete(job))

    # -- results

    def document(self, job: Job | str) -> Document:
        """The whole result of a job that has ended. Raises ``JobEnded``, and ``Problem`` ``not-finished``."""
        ended = job if isinstance(job, Job) and job.finished else self.job(job)
        return Document.from_results(ended, self.result(ended), self.result(ended, "json"))

    def result(self, job: Job | str, kind: str = "md") -> bytes:
        """The document as ``md``, ``json``, ``html``, ``txt`` or ``zip``; text is UTF-8.

        Raises ``JobEnded`` if there is none, ``Problem`` with the code ``not-finished`` while pages are missing.
        """
        return self._transport.send(calls.result(job, kind))

    def page(self, job: Job | str, number: int, kind: str = "md") -> bytes:
        """One page of it, as soon as it has been read."""
        return self._transport.send(calls.page(job, number, kind))

    def page_image(self, job: Job | str, number: int, *, boxes: bool = False) -> bytes:
        """The page as the engine saw it (WebP), with its blocks drawn on it if ``boxes``."""
        return self._transport.send(calls.page_image(job, number, boxes=boxes))

    def search(self, text: str) -> list[Hit]:
        """Blocks of all stored results that contain the text."""
        return self._transport.send(calls.search(text))

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
                patience.pause(unreachable(self._http.base_url, error))
            except Problem as problem:
                if problem.status not in RETRIED_STATUSES:
                    raise
                patience.pause(problem)
            else:
                time.sleep(0 if place.over else place.pause)

    def _listen(self, job: Job | str, place: StreamPosition) -> Iterator[Event]:
        """The events of one connection."""
        with connect_sse(self._http, "GET", f"{job_path(job)}/events", **place.request) as source:
            if not source.response.is_success:
                source.response.read()
            if place.opened(source.response):
                for message in source.iter_sse():
                    if (event := place.noted(message)) is not None:
                        yield event

    # -- many files

    def submit_batch(self, sources: Iterable[Source], *, key: str | None = None, **options: Any) -> Batch:
        """Submit many files with one set of options; ``rejected`` names those that were refused."""
        return self._transport.send(calls.submit_batch(sources, key, options))

    def batch(self, batch: Batch | str) -> Batch:
        return self._transport.send(calls.batch(batch))
