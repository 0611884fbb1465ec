"""What the subcommands of ``ocr`` do. Each takes the client and the parsed arguments and returns an exit code."""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.api import Client
from client.errors import ClientError, JobEnded
from client.models import Job
from client.pages import in_order

OPTIONS = ("pages", "type", "mode", "prompt", "priority")
DONE, FAILED, BAD_USAGE, NOT_EVERY_PAGE = 0, 1, 2, 3


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def read(client: Client, given: Namespace) -> int:
    """Submit every file first, so that they wait in the queue together; then fetch them in the order given."""
    if (wrong := _misfit(given)) is not None:
        say(f"ocr: {wrong}")
        return BAD_USAGE
    options = {name: getattr(given, name) for name in OPTIONS}
    contents = [(path.name, path.read_bytes()) for path in given.files]
    jobs: list[Job] = []
    worst = DONE
    with cancelled_if_interrupted(client, jobs):
        for name, content in contents:
            try:
                jobs.append(client.submit(content, filename=name, **options))
            except ClientError as error:
                worst = _worse(worst, _refused(name, error, len(contents)))
        for job in jobs:
            worst = _worse(worst, _finish(client, job, given, len(contents)))
    return worst


def _misfit(given: Namespace) -> str | None:
    """Why these arguments do not go together."""
    if given.follow and (len(given.files) > 1 or given.format not in ("md", "txt") or given.output):
        return "--follow is for one file, as md or txt, on stdout"
    if given.format == "zip" and not given.output:
        return "--format zip needs -o DIR"
    if len(given.files) > 1 and given.format in ("json", "html") and not given.output:
        return f"many files as {given.format} need -o DIR"
    names = [path.name for path in given.files]
    if given.output and len({_output_name(name, given.format) for name in names}) < len(names):
        return "two files would be written to the same name"
    return None


def _worse(one: int, other: int) -> int:
    return min((code for code in (one, other) if code), default=DONE)


def _refused(name: str, error: ClientError, files: int) -> int:
    """One of many may fail alone; the only one ends the command."""
    if files == 1:
        raise error
    say(f"ocr: {name}: {error}")
    return FAILED


def _finish(client: Client, job: Job, given: Namespace, files: int) -> int:
    try:
        ended = _follow(client, job, given.format) if given.follow else client.wait(job, watcher=Counter())
        if not given.follow:
            _hand_out(client.result(ended, given.format), ended, given)
        elif not ended.has_result:
            raise JobEnded(ended)
    except ClientError as error:
        return _refused(job.filename, error, files)
    return _faults(ended)


def _follow(client: Client, job: Job, kind: str) -> Job:
    for i, (number, state) in enumerate(in_order(job.page_range, client.events(job))):
        text = client.page(job, number, kind).decode()
        print(("\n" if i and text else "") + text, end="" if text.endswith("\n") or not text else "\n", flush=True)
        say(f"{job.filename}: page {number} {state}")
    return client.wait(job)


def _faults(job: Job) -> int:
    if not job.faults:
        return DONE
    which = ", ".join(f"{page.number} ({page.status}: {page.reason})" for page in job.faults)
    say(f"ocr: {job.filename}: not every page could be read: {which}")
    return NOT_EVERY_PAGE


def _hand_out(content: bytes, job: Job, given: Namespace) -> None:
    if given.output is None:
        sys.stdout.write(content.decode() if content.endswith(b"\n") else content.decode() + "\n")
        sys.stdout.flush()
        return
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / _output_name(job.filename, given.format)
    _write(path, content)
    say(f"{job.filename}: written to {path}")


def _output_name(filename: str, kind: str) -> str:
    """``scan.pdf`` -> ``scan.md``."""
    return f"{Path(filename).stem}.{kind}"


def _write(path: Path, content: bytes) -> None:
    """The whole file or none: written beside it first."""
    half = path.with_name(f".{path.name}.part")
    try:
        half.write_bytes(content)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


class Counter:
    """Says how many pages are done, whenever that has changed."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, job: Job) -> None:
        done = job.progress.pages_done + job.progress.pages_failed
        line = f"{job.filename}: {job.status}, {done} of {job.progress.pages_total} pages"
        if line != self._said:
            say(line)
            self._said = line


@contextmanager
def cancelled_if_interrupted(client: Client, jobs: list[Job]) -> Iterator[None]:
    """Nobody waits for them any more."""
    try:
        yield
    except KeyboardInterrupt:
        for job in jobs:
            with contextlib.suppress(ClientError):  # it may have ended, or the service may be why we were interrupted
                client.cancel(job)
        raise


def status(client: Client, given: Namespace) -> int:
    job = client.job(given.job)
    progress = job.progress
    print(f"{job.id} {job.status} {job.filename} {progress.pages_done} of {progress.pages_total} pages")
    for page in job.faults:
        print(f"page {page.number} {page.status}: {page.reason}")
    if job.error:
        print(f"{job.error.code}: {job.error.detail}")
    return DONE


def cancel(client: Client, given: Namespace) -> int:
    client.cancel(given.job)
    say(f"{given.job} is cancelled")
    return DONE


def result(client: Client, given: Namespace) -> int:
    if given.format == "zip" and not given.output:
        say("ocr: --format zip needs -o DIR")
        return BAD_USAGE
    job = client.job(given.job)
    _hand_out(client.result(job, given.format), job, given)
    return _faults(job)
