"""What the commands say to people, on stderr: stdout has nothing but results."""

from __future__ import annotations

import sys

from ocr_client.errors import ClientError


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def told(error: ClientError | OSError) -> str:
    """The error as one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
