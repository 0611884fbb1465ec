"""The exit codes of ``ocr``."""

from __future__ import annotations

from collections.abc import Iterable

from ocr_client.errors import ClientError, TimedOut, Unreachable

DONE = 0
FAILED = 1
"""Refused, failed or cancelled."""
BAD_USAGE = 2
"""The command line is wrong, or a file cannot be read or written."""
NOT_EVERY_PAGE = 3
"""There is a result, but not of every page."""
UNREACHABLE = 4
INTERRUPTED = 130

HELP = """\
Exit codes: 0 done; 1 refused, failed or cancelled; 2 the command line is wrong or a file cannot be read or written;
3 there is a result, but not of every page; 4 the service cannot be reached; 130 interrupted.
Results go to stdout or to -o; everything else goes to stderr.
"""


def code_of(error: ClientError | OSError) -> int:
    if isinstance(error, (Unreachable, TimedOut)):
        return UNREACHABLE
    return FAILED if isinstance(error, ClientError) else BAD_USAGE


def worst(codes: Iterable[int]) -> int:
    """Of several files: the code of the worst that happened to one of them."""
    return min((code for code in codes if code), default=DONE)
