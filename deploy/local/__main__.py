"""``python -m deploy.local [--port N] [--file PATH] [--once] [--worker-python PATH]``: what ``make run`` does.

Starts everything, waits until it is ready, reads one document, prints its Markdown to stdout and everything else to
stderr, and serves until INT or TERM. With ``--once`` it ends after the document. Exit codes: 0; 1 it could not be done,
and the last line says why; 2 the command line is wrong; 3 not every page could be read; 128 + signal if stopped before.
"""

from __future__ import annotations

import argparse
import sys

from deploy.local.failure import Failure
from deploy.local.signals import Signals, StopRequested


def main() -> int:
    signals = Signals()  # before anything slow is imported
    from deploy.local.run import run

    try:
        return run(_arguments(), signals)
    except (Failure, StopRequested) as end:
        print(end, file=sys.stderr, flush=True)
        return 128 + end.number if isinstance(end, StopRequested) else 1


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make run", description="Run the whole service on this machine.")
    parser.add_argument("--port", type=_port, help="of the gateway (PORT); default 8000, any free one with --once")
    parser.add_argument("--file", help="document to read (FILE); default: the sample")
    parser.add_argument("--once", action="store_true", help="print the document's Markdown, stop everything (ONCE)")
    parser.add_argument(
        "--worker-python", default=sys.executable, help="interpreter that runs the worker (GPU=1: that of .venv-gpu)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
