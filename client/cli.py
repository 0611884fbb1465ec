"""``ocr``: the command line.

Exit codes: 0 done; 1 refused, failed or cancelled; 2 the command line is wrong or a file cannot be read or written;
3 there is a result, but not of every page; 4 the service cannot be reached; 130 interrupted (jobs are cancelled).
Results go to stdout or into ``-o DIR``; everything else is said on stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from client.api import Client
from client.commands import cancel, read, result, status
from client.errors import ClientError, TimedOut, Unreachable

URL = "http://127.0.0.1:8000"
FORMATS = ("md", "json", "html", "txt", "zip")
REFUSED, USAGE, NOT_REACHED, INTERRUPTED = 1, 2, 4, 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("ocr", description="Read documents with an OCR service.", epilog=_exit_codes())
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("--url", default=os.environ.get("OCR_URL", URL), help=f"the service; or OCR_URL (default {URL})")
    top.add_argument("--api-key", default=os.environ.get("OCR_API_KEY"), help="better in OCR_API_KEY")
    top.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="how long outages are waited out")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_read(commands)
    for name, run, what in (("status", status, "where a job stands"), ("cancel", cancel, "stop a job")):
        command = commands.add_parser(name, help=what)
        command.add_argument("job", metavar="JOB")
        command.set_defaults(run=run)
    command = commands.add_parser("result", help="fetch what was read")
    command.add_argument("job", metavar="JOB")
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="write into this folder instead of stdout")
    command.add_argument("--format", choices=FORMATS, default="md")
    command.set_defaults(run=result)
    return top


def _add_read(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("read", help="read files and print or write what they say")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="write FILE.md into this folder")
    command.add_argument("--format", choices=FORMATS, default="md")
    command.add_argument("--pages", help="only these: 1-3,7")
    command.add_argument("--type", choices=("document", "image"))
    command.add_argument("--mode", choices=("tiny", "small", "base", "large", "gundam"))
    command.add_argument("--prompt", help="in place of --type")
    command.add_argument("--priority", choices=("high", "normal", "low"))
    command.add_argument("--follow", action="store_true", help="print each page as soon as it has been read")
    command.set_defaults(run=read)


def _exit_codes() -> str:
    return (__doc__ or "").partition("\n\n")[2]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command; every failure is one line on stderr and an exit code."""
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
        return _say(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return REFUSED
    except (Unreachable, TimedOut) as error:
        return _say(NOT_REACHED, str(error))
    except ClientError as error:
        return _say(REFUSED, str(error))
    except OSError as error:
        return _say(USAGE, f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _say(code: int, what: str) -> int:
    print(f"ocr: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
