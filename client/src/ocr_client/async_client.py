"""The client for asyncio: the same calls as ``Client``, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import aconnect_sse

from ocr_client import calls
from ocr_client.calls import RESPONSE_SECONDS, Call, Source, job_path
from ocr_client.document import Document, FileOutcome
from ocr_client.errors import ClientError, Problem, TimedOut
from ocr_client.event_stream import StreamPosition
from ocr_client.models import Batch, Event, Hit, Job
from ocr_client.transport import RETRIED_STATUSES, Patience, judged, retry_after, unreachable

LONG_POLL_SECONDS = 30

T = TypeVar("T")
AsyncWatcher = Callable[[Job], Awaitable[object]]


class AsyncClient:
    """``patience``: how many seconds to retry over outages, 429 and 503. For one event loop."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        patience: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(RESPONSE_SECONDS, connect=10.0)
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._patience = patience

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, call: Call[T]) -> T:
        """What the call gives. Raises ``Problem`` or ``Unreachable``."""
        patience = Patience(self._patience)
        while True:
            done, pause = await self._try(call, patience)
            if done is not None:
                return call.read(done)
            await asyncio.sleep(pause)

    async def _try(self, call: Call[T], patience: Patience) -> tuple[httpx.Response | None, float]:
        """The response of a success; else None, and the seconds after which to try again."""
        try:
            with call.opened() as request:
                response = await self._http.request(call.method, call.path, **request)
        except httpx.TransportError as error:
            return None, patience.next(unreachable(self._http.base_url, error))
        problem = judged(response)
        return (response, 0.0) if problem is None else (None, patience.next(problem, retry_after(response)))

    async def read(self, source: Source, *, timeout: float | None = None, **options: Any) -> Document:  # noqa: ASYNC109
        """Submit a file, wait, fetch. Raises ``Problem``, ``JobEnded``, ``TimedOut`` or ``Unreachable``."""
        return await self.document(await self.wait(await self.submit(source, **options), timeout=timeout))

    async def read_many(
        self, sources: Iterable[Source], *, concurrency: int = 8, **options: Any
    ) -> AsyncIterator[FileOutcome]:
        """Read files as ``sources`` gives them, ``concurrency`` at once; each is yielded when it is done."""
        waiting = iter(sources)
        running: set[asyncio.Task[FileOutcome]] = set()
        try:
            while True:
                while len(running) < concurrency and (source := next(waiting, None)) is not None:
                    running.add(asyncio.ensure_future(self._outcome(source, options)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()

    async def _outcome(self, source: Source, options: dict[str, Any]) -> FileOutcome:
        try:
            return FileOutcome(source, await self.read(source, **options), None)
        except (ClientError, OSError) as error:
            return FileOutcome(source, None, error)

    async def submit(
        self, source: Source, *, filename: str | None = None, key: str | None = None, **options: Any
    ) -> Job:
        """Send a file: a path, streamed from disk, or its bytes with a ``filename``."""
        return await self._send(calls.submit(source, filename, key, options))

    async def submit_once(self, source: Source, *, key: str, filename: str | None = None, **options: Any) -> Job:
        """The job of this key, and only where there is none a submission. ``key``: as ``calls.content_key`` makes it.

        Asks again before each try, so that a file is not sent twice when the reply to its submission is lost.
        """
        patience, call = Patience(self._patience), calls.submit(source, filename, key, options)
        while (job := await self._send(calls.find(key))) is None:
            done, pause = await self._try(call, patience)
            if done is not None:
                return call.read(done)
            await asyncio.sleep(pause)
        return job

    async def find(self, key: str) -> Job | None:
        """The job that was submitted with this Idempotency-Key, without its pages; None if there is none (any more)."""
        return await self._send(calls.find(key))

    async def retry_page(self, job: Job | str, number: int, **options: Any) -> Job:
        """Have one page read again, as a job of its own. ``options``: ``type``, ``mode``, ``prompt`` …"""
        return await self._send(calls.retry_page(job, number, options))

    async def submit_url(self, url: str, **options: Any) -> Job:
        """Have the service fetch a document, where its ``DOCUMENT_URLS`` allows it."""
        return await self._send(calls.submit_url(url, options))

    async def job(self, job: Job | str, *, wait: int = 0) -> Job:
        """The job as it is now, or once it has ended or ``wait`` seconds (at most 60) have passed."""
        return Job.from_json((await self._send(calls.look(job, wait))).json())

    async def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        watcher: AsyncWatcher | None = None,
    ) -> Job:
        """Wait for the job's end. ``watcher`` is awaited with the job whenever it has changed."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        etag: str | None = None
        seen = job if isinstance(job, Job) else None
        while True:
            left = LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            asked = 0 if watcher is not None and etag is None else max(0, min(LONG_POLL_SECONDS, round(left)))
            response = await self._send(calls.look(job, asked, etag))
            if response.status_code != 304:
                seen = Job.from_json(response.json())
                if watcher is not None:
                    etag = response.headers.get("etag")
                    await watcher(seen)
                if seen.finished:
                    return seen
            if left <= 0:
                raise TimedOut(f"{seen.filename if seen else job} was not read within {timeout:g} s; the job continues")
            if asked and "preference-applied" not in response.headers:
                await asyncio.sleep(min(left, retry_after(response) or 1.0))

    async def jobs(self, *, status: str | None = None) -> AsyncIterator[Job]:
        """Every job of this caller, newest first."""
        cursor: str | None = None
        while True:
            found, cursor = await self._send(calls.list_jobs(status, cursor))
            for job in found:
                yield job
            if cursor is None:
                return

    async def document(self, job: Job | str) -> Document:
        """The whole result of a job that has ended."""
        ended = job if isinstance(job, Job) and job.finished else await self.job(job)
        return Document.from_results(ended, await self.result(ended), await self.result(ended, "json"))

    async def result(self, job: Job | str, kind: str = "md") -> bytes:
        """The document as ``md``, ``json``, ``html``, ``txt`` or ``zip``."""
        return await self._send(calls.result(job, kind))

    async def page(self, job: Job | str, number: int, kind: str = "md") -> bytes:
        """One page of it, as soon as it has been read."""
        return await self._send(calls.page(job, number, kind))

    async def page_image(self, job: Job | str, number: int, *, boxes: bool = False) -> bytes:
        """The page as the engine saw it (WebP), with its blocks drawn on it if ``boxes``."""
        return await self._send(calls.page_image(job, number, boxes=boxes))

    async def search(self, text: str) -> list[Hit]:
        """Blocks of all stored results that contain the text."""
        return await self._send(calls.search(text))

    async def cancel(self, job: Job | str) -> None:
        """Stop it. Raises ``Problem`` with the code ``already-finished`` if it has ended."""
        await self._send(calls.cancel(job))

    async def delete(self, job: Job | str) -> None:
        """Delete job, upload and result."""
        await self._send(calls.delete(job))

    async def events(self, job: Job | str, *, after: str | None = None) -> AsyncIterator[Event]:
        """The job's events from the first (or the one after the id ``after``) to ``done``.

        A lost connection is resumed where it broke: no event is missed and none comes twice.
        """
        place, patience = StreamPosition(after), Patience(self._patience)
        while not place.over:
            try:
                async for event in self._listen(job, place):
                    patience.renew()
                    yield event
                pause = 0.0 if place.over else place.pause
            except httpx.TransportError as error:
                pause = patience.next(unreachable(self._http.base_url, error))
            except Problem as problem:
                if problem.status not in RETRIED_STATUSES:
                    raise
                pause = patience.next(problem)
            await asyncio.sleep(pause)

    async def _listen(self, job: Job | str, place: StreamPosition) -> AsyncIterator[Event]:
        """The events of one connection."""
        async with aconnect_sse(self._http, "GET", f"{job_path(job)}/events", **place.request) as source:
            if not source.response.is_success:
                await source.response.aread()
            if place.opened(source.response):
                async for message in source.aiter_sse():
                    if (event := place.noted(message)) is not None:
                        yield event

    async def submit_batch(self, sources: Iterable[Source], *, key: str | None = None, **options: Any) -> Batch:
        """Submit many files with one set of options; ``rejected`` names those that were refused."""
        return await self._send(calls.submit_batch(sources, key, options))

    async def batch(self, batch: Batch | str) -> Batch:
        return await self._send(calls.batch(batch))
