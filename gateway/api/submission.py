"""From a checked form to a job in the store: the straight line that jobs, batches and the original API share."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import UploadFile

from gateway.api.filenames import clean_filename
from gateway.api.forms import Form, SubmitOptions, parse_options
from gateway.services import Services
from shared.contract import page_range
from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.errors import BadOption, BadWebhookUrl, FileMissing, FileTooLarge, PromptTooLong, QueueFull
from shared.ssrf_guard import Blocked, Unresolved
from shared.store.jobs import Submitted
from shared.store.upload import with_password
from shared.upload_check import Asked, UploadInfo

READY: Final = frozenset({"ready", "busy"})
LOOKUP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Submitter:
    """CallerDep submits, under which Idempotency-Key, and into which batch."""

    owner: str
    key: str | None = None
    batch: str | None = None
    page_quota: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A file that passed every check. ``numbers``: the pages that are to be read. ``password``: a PDF's."""

    data: bytes = field(repr=False)
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
            bytes=len(self.data),
            sha256=self.sha256,
            pages=self.info.pages,
            page_range=page_range.compact(self.numbers),
        )


def is_ready(account: dict[str, Any]) -> bool:
    """Whether a worker's account of itself says that its engine reads pages."""
    return account.get("engine", {}).get("state", "ready") in READY


async def refuse_when_full(services: Services, request: Request) -> None:
    """Before the body is read. A repeated submission is let through: the store knows whether it is one."""
    if "idempotency-key" not in request.headers and (what := await services.store.full()) is not None:
        raise QueueFull(f"Too many {what} are waiting", retry_after=await services.store.retry_after())


async def check_form(services: Services, form: Form) -> SubmitOptions:
    """The form's options, checked against the settings and against the engines that are running."""
    submit_options = parse_options(form.fields, services.settings)
    await check_engines(services, submit_options.options)
    if submit_options.webhook is not None:
        await check_receiver(services, submit_options.webhook.url)
    return submit_options


async def check_receiver(services: Services, url: str) -> None:
    """Refuse a webhook that would not be sent. A name that cannot be looked up just now is looked up again then."""
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            await services.guard.check(url)
    except Blocked as error:
        raise BadWebhookUrl(f"webhook_url is not called: {error}") from None
    except (Unresolved, TimeoutError):
        return


async def check_engines(services: Services, options: Options) -> None:
    """Refuse what no running engine can do; while none is known, anything may be asked for."""
    if options.mode is None and options.prompt is None:
        return
    engines = [account["engine"] for account in await services.store.workers()]
    modes = {mode for engine in engines for mode in engine["modes"]}
    if engines and options.mode is not None and options.mode not in modes:
        known = f"it has {', '.join(sorted(modes))}" if modes else "it has no modes"
        raise BadOption(f"The running engine cannot read in mode {options.mode}: {known}")
    longest = max((engine["max_prompt_chars"] for engine in engines if engine["prompts"]), default=0)
    if options.prompt is not None and 0 < longest < len(options.prompt):
        raise PromptTooLong(f"The prompt has {len(options.prompt)} characters; the engine takes {longest}")


async def receive_upload(services: Services, file: UploadFile, submit_options: SubmitOptions) -> ReceivedUpload:
    """Read one file of the form and check it in the helper process. Raises ``FileValidationError`` and others."""
    limit = max(services.settings.max_file_size, services.settings.max_pdf_size)
    if not file.filename and not file.size:
        raise FileMissing()
    if file.size is not None and file.size > limit:
        raise FileTooLarge(f"{file.size} bytes; at most {limit} are accepted")
    data, filename = await file.read(), clean_filename(file.filename or "")
    info = await services.inspector.inspect(data, Asked(filename, submit_options.pages, submit_options.password))
    digest = await asyncio.to_thread(hashlib.sha256, data)
    return ReceivedUpload(data, digest.hexdigest(), filename, info, submit_options.password)


async def submit(
    services: Services, upload: ReceivedUpload, submit_options: SubmitOptions, submitter: Submitter
) -> Submitted:
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
    )
    print_ = hashlib.sha256(f"{upload.sha256}\n{submit_options.fingerprint()}".encode()).hexdigest()
    return await services.store.submit(new, with_password(upload.data, upload.password), print_)
