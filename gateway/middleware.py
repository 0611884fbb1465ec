"""The outermost layer, plain ASGI: request id, body limits, HEAD, the last handler of every error, metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Final

from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from gateway import csp
from gateway.api.problems import problem
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from shared import log
from shared.errors import BodyTimeout, BodyTooLarge, OCRError, StoreUnavailable
from shared.settings import MIB

PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds
logger = logging.getLogger(__name__)

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
BODY_SLACK_BYTES: Final = 8 * MIB  # above the largest upload: one slightly too large gets the error of a file
BASE64_PATHS: Final = frozenset({"/api/v1/jobs", "/v1/ocr", "/ocr", "/mcp"})
BODY_BYTES_PER_SECOND: Final = 1024  # each this many bytes received extend the time limit by a second


def body_cap(path: str, settings: GatewaySettings) -> int:
    """The most bytes a request to ``path`` may carry: of a file in base64 a third more than it has."""
    largest = max(settings.max_file_size, settings.max_pdf_size)
    if path == "/api/v1/batches":
        return BODY_SLACK_BYTES + max(largest, settings.max_batch_size)
    return BODY_SLACK_BYTES + (largest * 4 // 3 if path in BASE64_PATHS else largest)


class Middleware:
    """Wraps the application; one ``Exchange`` per request."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.settings, self.metrics)
        started = time.perf_counter()
        with log.scope(request_id=exchange.id):
            try:
                await exchange.run(self.app)
            finally:
                exchange.ended(time.perf_counter() - started)


class Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: GatewaySettings, metrics: Metrics) -> None:
        self._receive, self._send, self._metrics = receive, send, metrics
        cap, time_limit = body_cap(scope["path"], settings), settings.body_timeout
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else str(ULID())
        self.method: str = scope["method"]
        self.scope: Scope = {**scope, "request_id": self.id, "limits": {}}
        if self.method == "HEAD":
            self.scope["method"] = "GET"
        self.status = 499  # until a response has begun: the client disconnected
        self._begun, self._complete, self._asked = asyncio.Event(), False, False
        self._declared = headers.get("content-length", "")
        self._left = self._cap = cap
        self._time_left = self._time_limit = time_limit
        self._more_body, self._streams = True, False

    async def run(self, app: ASGIApp) -> None:
        try:
            if self._declared.isdecimal() and int(self._declared) > self._cap:
                raise BodyTooLarge(f"The request body is limited to {self._cap} bytes")
            await app(self.scope, self.receive, self.send)
            if self.method == "HEAD" and not self._complete:
                await self.send({"type": "http.response.body", "body": b""})
        except OCRError as error:
            await self._refuse(error)
        except RedisError:
            logger.exception("the store")
            await self._refuse(StoreUnavailable(retry_after=5))
        except ClientDisconnect:
            logger.info("the client disconnected")
        except Exception:
            logger.exception("the request failed")
            await self._refuse(OCRError("Internal error; the log has more under this request id"))

    def ended(self, seconds: float) -> None:
        """Count it, and write one line: its route and not its path, which may hold a token."""
        if self._streams:
            self._metrics.stream_closed()
        self._metrics.request(self.method, self.scope, self.status, seconds, log.bound("code"))
        route = getattr(self.scope.get("route"), "path", "unmatched")
        path_params = self.scope.get("path_params", {})
        level = logging.DEBUG if route in PROBES else logging.INFO
        log.event(
            logger, "request", level, method=self.method, route=route, status=self.status,
            ms=log.milliseconds(seconds), bytes=(self._cap - self._left) or None,
            job=path_params.get("job_id"),
        )  # fmt: skip

    async def _refuse(self, error: OCRError) -> None:
        if self.status == 499:
            answer = problem(error, self.id)
            if isinstance(error, BodyTimeout):
                answer.headers["Connection"] = "close"  # the rest of the body is not waited for
            await answer(self.scope, self._receive, self.send)

    async def receive(self) -> Message:
        if self.method == "HEAD" and self._asked:
            await self._begun.wait()
            return {"type": "http.disconnect"}  # the headers were all that was wanted: an endless stream ends here
        self._asked = True
        message = await (self._receive_body() if self._more_body else self._receive())
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise BodyTooLarge(f"The request body is limited to {self._cap} bytes")
        return message

    async def _receive_body(self) -> Message:
        """Receive more of the body within the time left; the bytes received extend that time."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._time_left):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimeout(f"No data, or hardly any, was received for {self._time_limit:g} seconds") from None
        extension = len(message.get("body", b"")) / BODY_BYTES_PER_SECOND
        self._time_left = min(self._time_limit, self._time_left - (time.monotonic() - began) + extension)
        self._more_body = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._begun.set()
            headers = MutableHeaders(scope=message)
            if headers.get("content-type", "").startswith("text/event-stream"):
                self._streams = True
                self._metrics.stream_opened()
            headers["X-Request-ID"] = self.id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"  # a URL may hold a token
            headers.setdefault(csp.HEADER, csp.NO_PAGE)
            headers.update(self.scope["limits"])
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
            message = {**message, "body": b""} if self.method == "HEAD" else message
        await self._send(message)
