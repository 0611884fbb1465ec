"""The exit codes of ``ocr``."""

from __future__ import annotations

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
3 there is a result, but not of every page; 4 the service cannot be reached; 130 interrupted (jobs are cancelled).
Results go to stdout or into ``-o DIR``; everything else goes to stderr.
"""
