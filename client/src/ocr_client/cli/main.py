"""Runs one command, and turns every failure into one line on stderr and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from ocr_client.cli.exit_codes import BAD_USAGE, FAILED, code_of
from ocr_client.cli.messages import say, told
from ocr_client.errors import ClientError


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    try:
        from ocr_client.cli.app import run_command
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        return _fail(BAD_USAGE, "the command line needs the extra cli: pip install 'ocr-client[cli]'")
    try:
        return run_command(arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return FAILED
    except (ClientError, OSError) as error:
        return _fail(code_of(error), told(error))


def _fail(code: int, why: str) -> int:
    say(f"ocr: {why}")
    return code
