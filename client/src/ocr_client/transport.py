"""One HTTP exchange: retry what may pass by itself, raise everything else as a ``Problem``.

Every call sent here may safely be repeated: reads, cancels, deletes, and submissions with an Idempotency-Key.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import httpx

from ocr_client.errors import ClientError, Problem, Unreachable

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0


class Patience:
    """Pauses between tries, ever longer, until ``seconds`` have passed since the last success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._deadline = time.monotonic() + self._seconds
        self._pause = FIRST_PAUSE_SECONDS

    def pause(self, why: ClientError, asked: float | None = None) -> None:
        """Sleep as long as the service ``asked`` for, else a while; raise ``why`` if that is too long."""
        seconds = self._pause * random.uniform(0.5, 1.0) if asked is None else asked  # noqa: S311  # jitter
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)
        if time.monotonic() + seconds > self._deadline:
            raise why
        time.sleep(seconds)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds; the header's other form, a date, is ignored."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


class Transport:
    def __init__(self, http: httpx.Client, patience: float) -> None:
        self.http = http
        self._patience = patience

    def patience(self) -> Patience:
        return Patience(self._patience)

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(f"{self.http.base_url} cannot be reached: {error or type(error).__name__}")

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A successful response. Raises ``Problem`` or ``Unreachable``."""
        patience = self.patience()
        for response in self._tries(patience, method, path, request):
            if response.is_success or response.status_code == 304:
                return response
            problem = Problem.from_response(response)
            if response.status_code not in RETRIED_STATUSES:
                raise problem
            patience.pause(problem, retry_after(response))
        raise AssertionError("tries do not end")

    def _tries(self, patience: Patience, method: str, path: str, request: Any) -> Iterator[httpx.Response]:
        while True:
            try:
                response = self.http.request(method, path, **request)
            except httpx.TransportError as error:
                patience.pause(self.unreachable(error))
            else:
                yield response
