"""``ocr read``"""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocr_client.choices import BINARY_FORMATS, JOINABLE_FORMATS, MODES, PRIORITIES, TYPES
from ocr_client.cli import output
from ocr_client.cli.exit_codes import BAD_USAGE, DONE, FAILED
from ocr_client.cli.output import say
from ocr_client.client import Client
from ocr_client.document_order import in_order
from ocr_client.errors import ClientError, JobEnded
from ocr_client.models import Job

HELP = "read files and print or write their text"
OPTIONS = ("pages", "type", "mode", "prompt", "priority")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    output.add_arguments(parser, "write FILE.md into this folder")
    parser.add_argument("--pages", help="only these: 1-3,7")
    parser.add_argument("--type", choices=TYPES)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--prompt", help="in place of --type")
    parser.add_argument("--priority", choices=PRIORITIES)
    parser.add_argument("--follow", action="store_true", help="print each page as soon as it has been read")


def run(client: Client, given: Namespace) -> int:
    """Submit every file first, so that they wait in the queue together; then fetch them in the order given."""
    if (wrong := conflict(given)) is not None:
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
                worst = _worse(worst, _failed(name, error, len(contents)))
        for job in jobs:
            worst = _worse(worst, _finish(client, job, given, len(contents)))
    return worst


def conflict(given: Namespace) -> str | None:
    """Why these arguments cannot be used together."""
    many = len(given.files) > 1
    if given.follow and (many or given.format not in JOINABLE_FORMATS or given.output):
        return "--follow is for one file, as md or txt, on stdout"
    if given.output:
        return _name_conflict(given)
    if given.format in BINARY_FORMATS:
        return f"--format {given.format} needs -o DIR"
    return f"many files as {given.format} need -o DIR" if many and given.format not in JOINABLE_FORMATS else None


def _name_conflict(given: Namespace) -> str | None:
    names = {output.output_name(path.name, given.format) for path in given.files}
    return "two files would be written to the same name" if len(names) < len(given.files) else None


def _worse(one: int, other: int) -> int:
    return min((code for code in (one, other) if code), default=DONE)


def _failed(name: str, error: ClientError, files: int) -> int:
    """One of many may fail alone; the only one ends the command."""
    if files == 1:
        raise error
    say(f"ocr: {name}: {error}")
    return FAILED


def _finish(client: Client, job: Job, given: Namespace, files: int) -> int:
    try:
        ended = _follow(client, job, given.format) if given.follow else client.wait(job, watcher=ProgressReport())
        if not given.follow:
            output.write_result(client.result(ended, given.format), ended, given)
        elif not ended.has_result:
            raise JobEnded(ended)
    except ClientError as error:
        return _failed(job.filename, error, files)
    return output.report_faults(ended)


def _follow(client: Client, job: Job, kind: str) -> Job:
    for i, (number, state) in enumerate(in_order(job.page_range, client.events(job))):
        text = client.page(job, number, kind).decode()
        print(("\n" if i and text else "") + text, end="" if text.endswith("\n") or not text else "\n", flush=True)
        say(f"{job.filename}: page {number} {state}")
    return client.wait(job)


class ProgressReport:
    """Reports how many pages are done, whenever that has changed."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, job: Job) -> None:
        done = job.progress.pages_done + job.progress.pages_failed
        line = f"{job.filename}: {job.status}, {done} of {job.progress.pages_total} pages"
        if line != self._last:
            say(line)
            self._last = line


@contextmanager
def cancelled_if_interrupted(client: Client, jobs: list[Job]) -> Iterator[None]:
    """Cancel the jobs on Ctrl-C: nobody waits for them any more."""
    try:
        yield
    except KeyboardInterrupt:
        for job in jobs:
            with contextlib.suppress(ClientError):  # it may have ended, or the service may be why we were interrupted
                client.cancel(job)
        raise
