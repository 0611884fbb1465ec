"""INT, TERM and HUP as one exception, raised only where everything that was begun is also ended."""

from __future__ import annotations

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_WISH_SECONDS = 1.0  # a signal to the whole group comes twice: once more from make


class StopRequested(Exception):
    """Somebody wants the run to end. ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """Until ``armed``, a signal is kept for later; then it is raised, once; further ones are only counted."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self._armed = False
        self._heard_at = 0.0
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
                signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.heard or now - self._heard_at > ONE_WISH_SECONDS:
            self.heard.append(number)
        self._heard_at = now
        if self._armed:
            self._armed = False
            raise StopRequested(number)

    def arm(self) -> None:
        """From here on a signal raises ``StopRequested``, also one that has already come."""
        if self.heard:
            raise StopRequested(self.heard[0])
        self._armed = True

    def disarm(self) -> None:
        self._armed = False
