"""Parses the command line, runs one command, and turns every failure into one line on stderr and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

from ocr_client.cli import cancel, exit_codes, mcp, read, result, status
from ocr_client.cli.output import say
from ocr_client.client import Client
from ocr_client.errors import ClientError, TimedOut, Unreachable

URL = "http://127.0.0.1:8000"
COMMANDS = (read, status, cancel, result, mcp)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("ocr", description="Read documents with an OCR service.", epilog=exit_codes.HELP)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("--url", default=os.environ.get("OCR_URL", URL), help=f"the service; or OCR_URL (default {URL})")
    top.add_argument("--api-key", default=os.environ.get("OCR_API_KEY"), help="better in OCR_API_KEY")
    top.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="how long to retry over outages")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        added = commands.add_parser(name, help=command.HELP)
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return top


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # TERM ends it as Ctrl-C does: jobs are cancelled
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    top = parser()
    given = top.parse_args(arguments)
    try:
        with Client(given.url, given.api_key, patience=given.patience) as client:
            code: int = given.run(client, given)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        return _fail(exit_codes.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return exit_codes.FAILED
    except (Unreachable, TimedOut) as error:
        return _fail(exit_codes.UNREACHABLE, str(error))
    except ClientError as error:
        return _fail(exit_codes.FAILED, str(error))
    except OSError as error:
        return _fail(exit_codes.BAD_USAGE, f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(code: int, why: str) -> int:
    say(f"ocr: {why}")
    return code
