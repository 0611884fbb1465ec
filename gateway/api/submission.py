"""From a form to a job in the store: the one path that jobs, batches and the original API share."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from fastapi import Request
from starlette.datastructures import UploadFile

from gateway.api.filenames import clean_filename
from gateway.api.forms import Form, SubmitOptions, parse_options
from gateway.inspector import Inspector
from gateway.settings import GatewaySettings
from shared import log, tracing
from shared.contract import page_range
from shared.contract.job import Input, NewJob
from shared.contract.options import DECIDED_LATER, Options
from shared.contract.states import JobStatus
from shared.contract.worker_status import DIGEST_CHARACTERS
from shared.errors import BadOption, BadWebhookUrl, FileMissing, FileTooLarge, PromptTooLong
from shared.ssrf_guard import Blocked, SsrfGuard, Unresolved
from shared.store.jobs import Store, Submitted
from shared.upload_check import Asked, UploadInfo

logger = logging.getLogger(__name__)

LOOKUP_SECONDS: Final = 5.0
QUICKLY_DIGESTED: Final = 128 * 1024
"""Bytes that are digested in the time that it takes to have another thread do it."""

IN_MEMORY: Final = 1024 * 1024
"""Bytes of the largest upload that is held in memory; forms keep larger ones on disk."""


@dataclass(frozen=True, slots=True)
class Submitter:
    """The owner of the job, the Idempotency-Key ``key`` and the batch it goes into. ``page_quota``: pages a day."""

    owner: str
    key: str | None = None
    batch: str | None = None
    page_quota: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A file that passed every check. ``numbers``: the pages that are to be read. ``password``: a PDF's.

    ``content``: its ``size`` bytes, or the file they lie in, which is open as long as the request's form.
    """

    content: bytes | BinaryIO = field(repr=False)
    size: int
    sha256: str
    filename: str
    info: UploadInfo
    password: str | None = field(default=None, repr=False)

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.info.numbers

    @property
    def input(self) -> Input:
        return Input(
            filename=self.filename,
            media_type=self.info.media_type,
            bytes=self.size,
            sha256=self.sha256,
            pages=self.info.pages,
            page_range=page_range.compact(self.numbers),
            note=self.info.note,
        )


@dataclass(frozen=True, slots=True)
class Submissions:
    """Takes a request's files from the form into the queue. Every check comes before anything is stored."""

    settings: GatewaySettings
    store: Store
    inspector: Inspector
    guard: SsrfGuard

    async def refuse_when_full(self, request: Request, submitter: Submitter | None = None) -> None:
        """Before the body is read. A repeated submission is let through; without a ``submitter`` whatever has a key."""
        if submitter is not None and submitter.key is not None:
            if await self.store.job_of_key(submitter.owner, submitter.key) is not None:
                return
        elif "idempotency-key" in request.headers:
            return
        if (refusal := await self.store.admission.refusal()) is not None:
            raise refusal

    async def check_form(self, form: Form) -> SubmitOptions:
        """The form's options, checked against the settings and against the engines that are running."""
        submit_options = parse_options(form.fields, self.settings)
        await self.check_engines(submit_options.options)
        if submit_options.webhook is not None:
            await self.check_receiver(submit_options.webhook.url)
        return submit_options

    async def check_receiver(self, url: str) -> None:
        """Refuse a webhook that would not be sent. A name that cannot be looked up now is looked up again then."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await self.guard.check(url)
        except Blocked as error:
            raise BadWebhookUrl(f"webhook_url not allowed: {error}") from None
        except (Unresolved, TimeoutError):
            return

    async def check_engines(self, options: Options) -> None:
        """Refuse what no running engine can do; while none is known, anything may be asked for."""
        if options.mode is None and options.prompt is None and not options.languages:
            return
        engines = [worker.engine for worker in await self.store.workers()]
        if options.mode is not None and engines:
            check_mode(options.mode, {mode for engine in engines for mode in engine.modes})
        if options.languages and all(engine.languages for engine in engines):
            check_languages(options.languages, {code for engine in engines for code in engine.languages})
        longest = max((engine.max_prompt_chars for engine in engines if engine.prompts), default=0)
        if options.prompt is not None and 0 < longest < len(options.prompt):
            raise PromptTooLong(f"The prompt has {len(options.prompt)} characters; the engine takes {longest}")

    async def receive_upload(self, file: UploadFile, submit_options: SubmitOptions) -> ReceivedUpload:
        """Read one file of the form and check it in a sandbox. Raises ``FileValidationError`` and others."""
        limit = max(self.settings.max_file_size, self.settings.max_pdf_size)
        if not file.filename and not file.size:
            raise FileMissing()
        if file.size is not None and file.size > limit:
            raise FileTooLarge(f"{file.size} bytes; at most {limit} are accepted")
        filename, password = clean_filename(file.filename or ""), submit_options.password
        size, content = await content_of(file)
        info = await self.inspector.inspect(content, Asked(filename, submit_options.pages, password))
        sha256 = digest(content) if size <= QUICKLY_DIGESTED else await asyncio.to_thread(digest, content)
        return ReceivedUpload(content, size, sha256, filename, info, password)

    async def submit(self, upload: ReceivedUpload, submit_options: SubmitOptions, submitter: Submitter) -> Submitted:
        """Store the job and its place in the queue, in one step or not at all."""
        new = NewJob(
            input=upload.input,
            pages=len(upload.numbers),
            options=submit_options.options,
            owner=submitter.owner,
            metadata=submit_options.metadata or {},
            deadline=submit_options.deadline,
            idempotency_key=submitter.key,
            batch=submitter.batch,
            webhook=submit_options.webhook,
            page_quota=submitter.page_quota,
            ttl=submit_options.ttl,
            content=content_digest(upload, submit_options.options) if self.settings.result_cache else "",
            request_id=log.bound("request_id"),
            traceparent=tracing.traceparent(),
        )
        payload = f"{upload.sha256}\n{submit_options.fingerprint()}".encode()
        with tracing.span("store.submit"):
            fingerprint = hashlib.sha256(payload).hexdigest()
            submitted = await self.store.submit(
                new, upload.content, fingerprint, upload.password, cache=submit_options.cache
            )
        self._log(new, submitted)
        return submitted

    def _log(self, new: NewJob, submitted: Submitted) -> None:
        log.bind(job=submitted.job_id)
        log.event(
            logger, "job.replayed" if submitted.replayed else "job.accepted", pages=new.pages, bytes=new.input.bytes,
            media_type=new.input.media_type, priority=new.options.priority.value, batch=new.batch,
            filename=new.input.filename if self.settings.log_filenames else None, cached=submitted.cached or None,
        )  # fmt: skip
        if submitted.cached:
            log.event(logger, "job.ended", status=JobStatus.SUCCEEDED.value)


async def content_of(file: UploadFile) -> tuple[int, bytes | BinaryIO]:
    """How many bytes, and the bytes of a small upload or the file of a large one, which lies on disk."""
    if file.size is not None and file.size > IN_MEMORY:
        return file.size, file.file
    data = await file.read()
    return len(data), data


def digest(content: bytes | BinaryIO) -> str:
    """SHA-256 in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    content.seek(0)
    # Starlette's spooled file can readinto, which its declared type does not say.
    return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


def content_digest(upload: ReceivedUpload, options: Options) -> str:
    """What is to be read, and how: equal for uploads whose results are the same if the same engine reads them."""
    how = options.model_dump(mode="json", exclude=set(DECIDED_LATER))
    facts = [upload.sha256, page_range.compact(upload.numbers), how]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:DIGEST_CHARACTERS]


def check_mode(mode: str, modes: set[str]) -> None:
    if mode not in modes:
        known = f"it has {', '.join(sorted(modes))}" if modes else "it has no modes"
        raise BadOption(f"The running engine cannot read in mode {mode}: {known}")


def check_languages(asked: Iterable[str], known: set[str]) -> None:
    """Refuse languages that no running engine reads; ``known`` is empty while none is known."""
    if unknown := [language for language in asked if known and language not in known]:
        raise BadOption(f"The running engine does not read {', '.join(unknown)}: it reads {', '.join(sorted(known))}")
