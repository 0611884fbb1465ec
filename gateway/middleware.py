"""The outermost layer, plain ASGI: request id, body cap, HEAD, the last catch of every error, and the count of all."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from gateway.api.problems import problem
from gateway.metrics import Metrics
from shared.errors import BodyTimeout, BodyTooLarge, OCRError
from shared.settings import MIB, Settings

logger = logging.getLogger(__name__)

SANE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"  # what an answer that is no page may load
SLACK: Final = 8 * MIB  # above the largest upload, so that one a little too large is told so as a file


def body_cap(path: str, settings: Settings) -> int:
    """The most bytes a request to ``path`` may carry."""
    largest = max(settings.max_file_size, settings.max_pdf_size)
    return SLACK + (max(largest, settings.max_batch_size) if path == "/api/v1/batches" else largest)


class Middleware:
    """Wraps the application; one ``Exchange`` per request."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cap = body_cap(scope["path"], self.settings)
        exchange = Exchange(scope, receive, send, cap, self.settings.body_timeout)
        started = time.perf_counter()
        try:
            await exchange.run(self.app)
        finally:
            self.metrics.request(exchange.method, exchange.scope, exchange.status, time.perf_counter() - started)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, cap: int, patience: float) -> None:
        self._receive, self._send = receive, send
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.id = given if SANE_ID.fullmatch(given) else str(ULID())
        self.method: str = scope["method"]
        self.scope: Scope = {**scope, "request_id": self.id, "limits": {}}
        if self.method == "HEAD":
            self.scope["method"] = "GET"
        self.status = 499  # until an answer has begun: the client went away
        self._begun, self._complete, self._asked = asyncio.Event(), False, False
        self._declared = headers.get("content-length", "")
        self._left = self._cap = cap
        self._patience: float | None = patience  # seconds for the next piece of the body; None: it has come whole

    async def run(self, app: ASGIApp) -> None:
        try:
            if self._declared.isdecimal() and int(self._declared) > self._cap:
                raise BodyTooLarge(f"The request body may have {self._cap} bytes")
            await app(self.scope, self.receive, self.send)
            if self.method == "HEAD" and not self._complete:
                await self.send({"type": "http.response.body", "body": b""})
        except OCRError as error:
            await self._refuse(error)
        except ClientDisconnect:
            logger.info("request %s: the client went away", self.id)
        except Exception:
            logger.exception("request %s failed", self.id)
            await self._refuse(OCRError("Something went wrong; the log has more under this request id"))

    async def _refuse(self, error: OCRError) -> None:
        if self.status == 499:
            await problem(error, self.id)(self.scope, self._receive, self.send)

    async def receive(self) -> Message:
        if self.method == "HEAD" and self._asked:
            await self._begun.wait()
            return {"type": "http.disconnect"}  # the headers were all that was wanted: an endless stream ends here
        self._asked = True
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimeout(f"Nothing came for {self._patience:g} seconds in the middle of the body") from None
        if not message.get("more_body", False):
            self._patience = None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise BodyTooLarge(f"The request body may have {self._cap} bytes")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._begun.set()
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"  # a URL may hold a token
            headers.setdefault("Content-Security-Policy", NOTHING)
            headers.update(self.scope["limits"])
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
            message = {**message, "body": b""} if self.method == "HEAD" else message
        await self._send(message)
