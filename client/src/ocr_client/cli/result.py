"""``ocr result``"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ocr_client.choices import BINARY_FORMATS
from ocr_client.cli import output
from ocr_client.cli.exit_codes import BAD_USAGE
from ocr_client.client import Client

HELP = "fetch the result of a job"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB")
    output.add_arguments(parser, "write into this folder instead of stdout")


def run(client: Client, given: Namespace) -> int:
    if given.format in BINARY_FORMATS and not given.output:
        output.say(f"ocr: --format {given.format} needs -o DIR")
        return BAD_USAGE
    job = client.job(given.job)
    output.write_result(client.result(job, given.format), job, given)
    return output.report_faults(job)
