"""INT, TERM and HUP as one exception, raised only where everything that was started is also stopped."""

from __future__ import annotations

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT_SECONDS = 1.0  # a signal to the process group arrives twice: make sends it again


class StopRequested(Exception):
    """The run was asked to stop. ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """Until ``arm``, a signal is kept for later; then the first is raised and further ones are only counted."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._armed = False
        self._received_at = 0.0
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
                signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.received or now - self._received_at > REPEAT_SECONDS:
            self.received.append(number)
        self._received_at = now
        if self._armed:
            self._armed = False
            raise StopRequested(number)

    def arm(self) -> None:
        """From here on a signal raises ``StopRequested``, also one that has already arrived."""
        if self.received:
            raise StopRequested(self.received[0])
        self._armed = True

    def disarm(self) -> None:
        self._armed = False
