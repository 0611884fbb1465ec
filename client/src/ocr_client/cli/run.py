"""Reads many files at once: look for the job, upload, wait, fetch, write. One file's failure is its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ocr_client.async_client import AsyncClient
from ocr_client.calls import content_key
from ocr_client.cli.exit_codes import DONE, NOT_EVERY_PAGE, UNREACHABLE, code_of, worst
from ocr_client.cli.messages import told
from ocr_client.cli.reports import QuietReport
from ocr_client.cli.sources import BadSource, SourceFile
from ocr_client.cli.targets import Targets, write_whole
from ocr_client.document_order import PageSequence
from ocr_client.errors import ClientError, JobEnded, Problem, Unreachable
from ocr_client.models import Job

WAITING_PER_UPLOAD = 8
"""Files whose job may be unfinished, for each that may be uploaded."""
ROOM_SECONDS = 10.0
DELETED = "result-expired"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """``options``: fields of the submission. ``uploads``: files sent at once."""

    options: Mapping[str, Any]
    targets: Targets
    uploads: int = 8
    force: bool = False
    detach: bool = False
    follow: bool = False
    json_lines: bool = False


@dataclass(slots=True)
class FileResult:
    """What became of one file. ``text``: what belongs on stdout."""

    source: SourceFile | BadSource
    job: Job | None = None
    outputs: list[Path] = field(default_factory=list)
    text: str | None = None
    error: ClientError | OSError | None = None

    @property
    def code(self) -> int:
        if self.error is not None:
            return code_of(self.error)
        return NOT_EVERY_PAGE if self.job is not None and self.job.faults else DONE

    def as_json(self) -> dict[str, Any]:
        job = self.job
        return {
            "file": str(self.source.argument if isinstance(self.source, BadSource) else self.source.label),
            "job": job.id if job else None,
            "status": job.status if job else None,
            "pages": job.progress.pages_total if job else None,
            "faults": [[page.number, page.status, page.reason] for page in job.faults] if job else [],
            "outputs": [str(path) for path in self.outputs],
            "error": _error_json(self.error),
            **({"text": self.text} if self.text is not None else {}),
        }


def _error_json(error: ClientError | OSError | None) -> dict[str, str] | None:
    if error is None:
        return None
    if isinstance(error, Problem):
        return {"code": error.code, "detail": error.detail}
    ended = error.job.error if isinstance(error, JobEnded) else None
    code = ended.code if ended else {2: "file", 4: "unreachable"}.get(code_of(error), "job-ended")
    return {"code": code, "detail": told(error)}


class Unreadable(OSError):
    """An argument that names no file; a usage error like others of files."""


class Stdout:
    """Writes what belongs on stdout in the order of the files, each as soon as those before it are done."""

    def __init__(self) -> None:
        self._next, self._done = 0, dict[int, str]()

    def put(self, index: int, text: str) -> None:
        """The text of this file, empty for none."""
        self._done[index] = text
        while (ready := self._done.pop(self._next, None)) is not None:
            self._next += 1
            sys.stdout.write(ready)
        sys.stdout.flush()


class ReadRun:
    """One run over some files."""

    def __init__(self, client: AsyncClient, settings: RunSettings, report: QuietReport) -> None:
        self._client, self._settings, self._report = client, settings, report
        self._uploads = asyncio.Semaphore(settings.uploads)
        self._room = asyncio.Event()
        self._stdout = Stdout()
        self._seen = set[str]()
        self.gone: Unreachable | None = None
        self.open = dict[str, Job | None]()
        """Idempotency-Key -> the unfinished job; None while it is being submitted."""

    async def all(self, sources: Sequence[SourceFile | BadSource]) -> int:
        """Read them; the exit code. When the service is away for too long, the rest is left."""
        self._report.expect(len(sources))
        self._stdout = Stdout()
        waiting = iter(enumerate(sources))
        alone = len(sources) == 1
        width = min(len(sources), self._settings.uploads * WAITING_PER_UPLOAD)
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._worker(waiting, alone)) for _ in range(width)]
        except ExceptionGroup as failed:  # stdout was closed
            raise failed.exceptions[0] from None
        codes = [code for worker in workers for code in worker.result()]
        if self.gone is not None and not alone:
            left = codes.count(UNREACHABLE) + sum(1 for _ in waiting)
            self._report.error(f"{left} of {len(sources)} files were not read; the same command goes on")
        return worst(codes)

    async def _worker(self, waiting: Iterator[tuple[int, SourceFile | BadSource]], alone: bool) -> list[int]:
        codes: list[int] = []
        while self.gone is None and (given := next(waiting, None)) is not None:
            index, source = given
            result = await self._result(source)
            self._tell(index, result, alone)
            codes.append(result.code)
        return codes

    async def _result(self, source: SourceFile | BadSource) -> FileResult:
        result = FileResult(source)
        try:
            if isinstance(source, BadSource):
                raise Unreadable(str(source))
            await self._read(source, result)
        except Unreachable as error:
            result.error = error
            self.gone = self.gone or error
        except (ClientError, OSError) as error:
            result.error = error
        return result

    def _tell(self, index: int, result: FileResult, alone: bool) -> None:
        source = result.source
        label = "" if isinstance(source, BadSource) or alone else f"{source.label}: "
        if isinstance(result.error, Unreachable):
            if result.error is self.gone:  # once is enough
                self._report.error(told(result.error))
        elif result.error is not None:
            self._report.error(f"{label}{told(result.error)}")
        elif result.job is not None and result.job.faults:
            pages = ", ".join(f"{page.number} ({page.status}: {page.reason})" for page in result.job.faults)
            self._report.error(f"{result.job.filename}: not every page could be read: {pages}")
        if isinstance(source, SourceFile):
            self._report.ended(source.label)
        line = json.dumps(result.as_json(), ensure_ascii=False) + "\n" if self._settings.json_lines else result.text
        self._stdout.put(index, line or "")

    async def _read(self, source: SourceFile, result: FileResult) -> None:
        key, result.job = await self._submitted(source)
        self.open[key] = result.job
        if self._settings.detach:
            result.text = f"{result.job.id}\t{source.label}\n"
            return
        try:
            result.job = ended = await self._ended(source, result.job)
        except (ClientError, OSError):
            self._close(key)
            raise
        self._close(key)
        if not self._settings.follow:
            await self._deliver(source, ended, result)
        elif not ended.has_result:
            raise JobEnded(ended)

    def _close(self, key: str) -> None:
        """Not when it is cancelled: an interrupted run still has to know what it left open."""
        self.open.pop(key, None)
        self._room.set()

    async def _ended(self, source: SourceFile, job: Job) -> Job:
        async def watch(job: Job) -> None:
            self._report.changed(source.label, job)

        if self._settings.follow:
            await self._follow(job)
            return await self._client.wait(job)
        return await self._client.wait(job, watcher=watch)

    async def _follow(self, job: Job) -> None:
        order, printed = PageSequence(job.page_range), False
        async for event in self._client.events(job):
            for number, state in order.after(event):
                text = (await self._client.page(job, number, self._settings.targets.formats[0])).decode()
                sys.stdout.write(("\n" if printed and text else "") + with_newline(text))
                sys.stdout.flush()
                printed = True
                self._report.note(f"{job.filename}: page {number} {state}")

    async def _deliver(self, source: SourceFile, job: Job, result: FileResult) -> None:
        targets = self._settings.targets
        if targets.on_stdout:
            result.text = with_newline((await self._client.result(job, targets.formats[0])).decode())
        for kind, path in targets.paths(source).items():
            content = await self._client.result(job, kind)
            await asyncio.to_thread(write_whole, path, content)
            result.outputs.append(path)
            self._report.written(source.label, path)

    async def _submitted(self, source: SourceFile) -> tuple[str, Job]:
        """The job that reads this file, one of an earlier run if there is one, and its key here."""
        options = self._settings.options
        async with self._uploads:
            if source.url is not None:
                return source.url, await self._client.submit_url(source.url, **options)
            if source.path is None:
                raise Unreadable(f"{source.label}: has no content")
            digest = await asyncio.to_thread(sha256_of, source.path)
            for attempt in count():
                key = uuid.uuid4().hex if self._settings.force else content_key(digest, options, attempt)
                job = await self._submitted_as(key, source, source.path)
                # What failed in an earlier run, or was deleted, is read once more.
                if job is not None and (not job.finished or job.has_result or job.id in self._seen):
                    self._seen.add(job.id)
                    return key, job
                self._close(key)
        raise AssertionError("unreachable")

    async def _submitted_as(self, key: str, source: SourceFile, path: Path) -> Job | None:
        """The job of this key; None if it was deleted. While the queue is full of our own jobs, waits for one."""
        while True:
            self.open.setdefault(key, None)
            try:
                name = source.place.name
                return await self._client.submit_once(path, key=key, filename=name, **self._settings.options)
            except (Unreachable, OSError):
                self._close(key)
                raise
            except Problem as problem:
                self.open.pop(key, None)
                if problem.code == DELETED:
                    return None
                if problem.status != 429 or not any(self.open.values()):
                    raise
            self._room.clear()
            try:
                async with asyncio.timeout(ROOM_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                continue

    async def cancel_open(self) -> int:
        """Cancel what this run left unfinished; how many jobs."""
        cancelled = 0
        for key, known in list(self.open.items()):
            try:
                if (job := known or await self._client.find(key)) is not None:
                    await self._client.cancel(job)
                    cancelled += 1
            except ClientError as error:  # it may have ended, or the service may be why we were interrupted
                self._report.note(str(error))
        return cancelled


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def with_newline(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"
