"""The run's messages on stderr: lines that stay, and one line that changes during a wait."""

from __future__ import annotations

import sys
import time

QUIET_SECONDS = 3.0  # where the line cannot change (a log file), it is written this often


class Console:
    def __init__(self) -> None:
        self._changes = sys.stderr.isatty()
        self._open = False  # a changing line is on the screen
        self._written = time.monotonic()

    def say(self, line: str) -> None:
        self._clear()
        print(line, file=sys.stderr, flush=True)
        self._written = time.monotonic()

    def waiting(self, line: str) -> None:
        if self._changes:
            self._clear()
            print(line, end="", file=sys.stderr, flush=True)
            self._open = True
        elif time.monotonic() - self._written >= QUIET_SECONDS:
            self.say(line)

    def _clear(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False
