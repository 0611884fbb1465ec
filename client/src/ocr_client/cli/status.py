"""``ocr status``"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ocr_client.cli.exit_codes import DONE
from ocr_client.client import Client

HELP = "show the state of a job"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB")


def run(client: Client, given: Namespace) -> int:
    job = client.job(given.job)
    progress = job.progress
    print(f"{job.id} {job.status} {job.filename} {progress.pages_done} of {progress.pages_total} pages")
    for page in job.faults:
        print(f"page {page.number} {page.status}: {page.reason}")
    if job.error:
        print(f"{job.error.code}: {job.error.detail}")
    return DONE
