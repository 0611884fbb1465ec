"""Where the commands write: results to stdout or into a folder, everything else to stderr."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ocr_client.choices import FORMATS
from ocr_client.cli.exit_codes import DONE, NOT_EVERY_PAGE
from ocr_client.models import Job


def add_arguments(parser: ArgumentParser, into: str) -> None:
    """``-o`` and ``--format``; ``into`` is the help of ``-o``."""
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=into)
    parser.add_argument("--format", choices=FORMATS, default="md")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def write_result(content: bytes, job: Job, given: Namespace) -> None:
    """Write the result as the command line says."""
    if given.output is None:
        sys.stdout.write(content.decode() if content.endswith(b"\n") else content.decode() + "\n")
        sys.stdout.flush()
        return
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / output_name(job.filename, given.format)
    _write(path, content)
    say(f"{job.filename}: written to {path}")


def output_name(filename: str, kind: str) -> str:
    """``scan.pdf`` -> ``scan.md``."""
    return f"{Path(filename).stem}.{kind}"


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: first beside it, then in its place."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def report_faults(job: Job) -> int:
    """Name the pages that could not be read well, if any; the exit code that follows."""
    if not job.faults:
        return DONE
    which = ", ".join(f"{page.number} ({page.status}: {page.reason})" for page in job.faults)
    say(f"ocr: {job.filename}: not every page could be read: {which}")
    return NOT_EVERY_PAGE
