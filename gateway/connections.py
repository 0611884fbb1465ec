"""Limits of a connection: the size of a request's head, silence before it, and a response that nobody reads.

uvicorn's protocol limits none of these. A request refused here never reaches the application; the refusal is a problem
like every other. The middleware limits the time of a request's *body*.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, Final

from ulid import ULID
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.problems import MEDIA_TYPE, describe
from gateway.settings import GatewaySettings
from shared.errors import BadOption, HeadTimeout, HeadTooLarge, OCRError, UrlTooLong

MAX_URL_BYTES: Final = 16 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 128
MAX_HEAD_SECONDS: Final = 15.0  # from the connection's start, or the head's first byte, to its end
MAX_UNREAD_SECONDS: Final = 60.0  # for which a client may read nothing of a response that waits for it
CHECK_SECONDS: Final = 2.5
LINGER_SECONDS: Final = 1.0  # for which a refused client may go on sending, unread
CHUNK_FRAMES: Final = 9  # bytes of framing, at most, for each byte of a body that is sent in chunks
OTHER_DESCRIPTORS: Final = 256  # that a gateway needs beside its connections
MAX_DESCRIPTORS: Final = 65_536


def limit_connections(settings: GatewaySettings) -> None:
    """Let this process have ``max_connections``, or as many as its limit of open files allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(
        settings.max_connections + OTHER_DESCRIPTORS, MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    allowed = settings.max_connections if soft == resource.RLIM_INFINITY else soft - OTHER_DESCRIPTORS
    BoundedProtocol.max_connections = max(1, min(settings.max_connections, allowed))


class BoundedProtocol(HttpToolsProtocol):
    """One connection. ``max_connections``: of this process; one more closes the one that has been idle longest."""

    max_connections = 4096

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waits_since: float | None = self.loop.time()  # for a request's head
        self._received = self._chunk = self._body = self._headers = self._head = 0
        self._refusal: OCRError | None = None
        self._refused = False
        self._unread, self._read_at = 0, self.loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        if len(self.connections) > self.max_connections:
            self._close_one()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _close_one(self) -> None:
        """Close the connection that has been idle longest; where none is idle, close the new one."""
        waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        idle = min(waiting, key=lambda one: one._waits_since or float("inf"), default=self)
        (idle if idle._waits_since is not None else self).transport.abort()

    # -- sizes

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._received - CHUNK_FRAMES * self._body > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"The request's headers are limited to {MAX_HEAD_BYTES} bytes"))
            return
        self._chunk = len(data)
        self._received += self._chunk
        if self._waits_since is None and self._answered:
            self._waits_since = self.loop.time()  # no request has begun with these bytes yet
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received, self._body, self._headers, self._head = self._chunk, 0, 0, 0
        if self._waits_since is None:
            self._waits_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._fail(UrlTooLong(f"The URL is limited to {MAX_URL_BYTES} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._head += len(name) + len(value)
        if self._headers > MAX_HEADERS or self._head > MAX_HEAD_BYTES:
            self._fail(
                HeadTooLarge(f"A request is limited to {MAX_HEADERS} headers of {MAX_HEAD_BYTES} bytes together")
            )
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._waits_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def _fail(self, error: OCRError) -> None:
        """Leave the parser's callback; uvicorn then calls ``send_400_response``."""
        self._refusal = error
        raise error

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or BadOption(msg))

    def _refuse(self, error: OCRError) -> None:
        """Answer, and go on to read for a moment: who is still sending would see a reset, and no answer."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = describe(error, str(ULID()))
        content = body.model_dump_json().encode()
        self.transport.write(
            STATUS_LINE[body.status]
            + f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n".encode()
            + b"cache-control: no-store\r\nconnection: close\r\n\r\n"
            + content
        )
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    @property
    def _answered(self) -> bool:
        """Whether no request is in progress on this connection."""
        return self.cycle is None or self.cycle.response_complete

    # -- times

    def resume_writing(self) -> None:
        self._read_at = self.loop.time()
        super().resume_writing()

    def _check(self) -> None:
        if self._refused:
            return
        now = self.loop.time()
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        unread = self.transport.get_write_buffer_size()
        if unread < self._unread or not unread:
            self._read_at = now
        self._unread = unread
        if now - self._read_at > MAX_UNREAD_SECONDS:
            self.transport.abort()
        elif self._waits_since is not None and self._answered and now - self._waits_since > MAX_HEAD_SECONDS:
            if self._received:
                self._refuse(HeadTimeout(f"The request's head may take {MAX_HEAD_SECONDS:.0f} seconds"))
            else:
                self.transport.close()
