"""``ocr cancel``"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ocr_client.cli.exit_codes import DONE
from ocr_client.cli.output import say
from ocr_client.client import Client

HELP = "stop a job"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB")


def run(client: Client, given: Namespace) -> int:
    client.cancel(given.job)
    say(f"{given.job} is cancelled")
    return DONE
