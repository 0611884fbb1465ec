"""One HTTP exchange: retry what may pass by itself, raise everything else as a ``Problem``.

Every call sent here may safely be repeated: reads, cancels, deletes, and submissions with an Idempotency-Key.
"""

from __future__ import annotations

import random
import time
from typing import TypeVar

import httpx

from ocr_client.calls import Call
from ocr_client.errors import ClientError, Problem, Unreachable

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0

T = TypeVar("T")


class Patience:
    """Pauses between tries, ever longer, until ``seconds`` have passed since the last success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._deadline = time.monotonic() + self._seconds
        self._pause = FIRST_PAUSE_SECONDS

    def next(self, why: ClientError, asked: float | None = None) -> float:
        """Seconds to sleep: as long as the service ``asked`` for, else a while. Raises ``why`` if that is too long."""
        seconds = self._pause * random.uniform(0.5, 1.0) if asked is None else asked  # noqa: S311  # jitter
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)
        if time.monotonic() + seconds > self._deadline:
            raise why
        return seconds

    def pause(self, why: ClientError, asked: float | None = None) -> None:
        """Sleep that long."""
        time.sleep(self.next(why, asked))


def retry_after(response: httpx.Response) -> float | None:
    """Seconds; the header's other form, a date, is ignored."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def unreachable(base_url: httpx.URL, error: httpx.TransportError) -> Unreachable:
    return Unreachable(f"{base_url} cannot be reached: {error or type(error).__name__}")


def judged(response: httpx.Response) -> Problem | None:
    """None for a success, the problem where it may pass by itself. Raises every other ``Problem``."""
    if response.is_success or response.status_code == 304:
        return None
    problem = Problem.from_response(response)
    if response.status_code not in RETRIED_STATUSES:
        raise problem
    return problem


class Transport:
    def __init__(self, http: httpx.Client, patience: float) -> None:
        self.http = http
        self._patience = patience

    def patience(self) -> Patience:
        return Patience(self._patience)

    def send(self, call: Call[T]) -> T:
        """What the call gives. Raises ``Problem`` or ``Unreachable``."""
        patience = self.patience()
        while True:
            try:
                with call.opened() as request:
                    response = self.http.request(call.method, call.path, **request)
            except httpx.TransportError as error:
                patience.pause(unreachable(self.http.base_url, error))
            else:
                problem = judged(response)
                if problem is None:
                    return call.read(response)
                patience.pause(problem, retry_after(response))
