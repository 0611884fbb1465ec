"""What a connection may cost: the size of a request's head, silence before it, and an answer nobody reads.

uvicorn's protocol bounds none of these. What is refused here never reaches the application; the refusal is a problem
like every other. The time a request's *body* may take is the middleware's.
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

URL_BYTES: Final = 16 * 1024
HEAD_BYTES: Final = 64 * 1024
HEADERS: Final = 128
HEAD_SECONDS: Final = 15.0  # from the connection's begin, or the head's first byte, to its end
UNREAD_SECONDS: Final = 60.0  # for which a client may read nothing of an answer that waits for it
LOOK_SECONDS: Final = 2.5
CHUNK_FRAMES: Final = 9  # bytes of framing, at most, for each byte of a body that is sent in chunks
OTHER_FILES: Final = 256  # descriptors a gateway needs beside its connections
MOST_FILES: Final = 65_536


def limit_connections(settings: GatewaySettings) -> None:
    """Let this process have ``max_connections``, or as many as its limit of open files allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(settings.max_connections + OTHER_FILES, MOST_FILES if hard == resource.RLIM_INFINITY else hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    allowed = settings.max_connections if soft == resource.RLIM_INFINITY else soft - OTHER_FILES
    BoundedProtocol.most = max(1, min(settings.max_connections, allowed))


class BoundedProtocol(HttpToolsProtocol):
    """One connection. ``most``: of this process together; one more closes the one that has waited longest."""

    most = 4096

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waits_since: float | None = self.loop.time()  # for a request's head
        self._received = self._chunk = self._body = self._headers = self._head = 0
        self._refusal: OCRError | None = None
        self._unread, self._read_at = 0, self.loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Idle connections give way to new ones; where every one is at work, the new one has to."""
        waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        idle = min(waiting, key=lambda one: one._waits_since or float("inf"), default=self)
        (idle if idle._waits_since is not None else self).transport.abort()

    # -- sizes

    def data_received(self, data: bytes) -> None:
        if self._received - CHUNK_FRAMES * self._body > HEAD_BYTES:
            self._refuse(HeadTooLarge(f"The request's head may have {HEAD_BYTES} bytes"))
            return
        self._chunk = len(data)
        self._received += self._chunk
        if self._waits_since is None and self._answered:
            self._waits_since = self.loop.time()  # of whatever this is, no request has begun yet
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received, self._body, self._headers, self._head = self._chunk, 0, 0, 0
        if self._waits_since is None:
            self._waits_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES:
            self._fail(UrlTooLong(f"The URL may have {URL_BYTES} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._head += len(name) + len(value)
        if self._headers > HEADERS or self._head > HEAD_BYTES:
            self._fail(HeadTooLarge(f"A request may have {HEADERS} headers of {HEAD_BYTES} bytes together"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._waits_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def _fail(self, error: OCRError) -> None:
        """Out of the parser's callbacks; uvicorn then calls ``send_400_response``."""
        self._refusal = error
        raise error

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or BadOption(msg))

    def _refuse(self, error: OCRError) -> None:
        if self.transport.is_closing():
            return
        body = describe(error, str(ULID()))
        content = body.model_dump_json().encode()
        self.transport.write(
            STATUS_LINE[body.status]
            + f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n".encode()
            + b"cache-control: no-store\r\nconnection: close\r\n\r\n"
            + content
        )
        self.transport.close()

    @property
    def _answered(self) -> bool:
        """Whether no request is at work on this connection."""
        return self.cycle is None or self.cycle.response_complete

    # -- times

    def resume_writing(self) -> None:
        self._read_at = self.loop.time()
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        unread = self.transport.get_write_buffer_size()
        if unread < self._unread or not unread:
            self._read_at = now
        self._unread = unread
        if now - self._read_at > UNREAD_SECONDS:
            self.transport.abort()
        elif self._waits_since is not None and self._answered and now - self._waits_since > HEAD_SECONDS:
            if self._received:
                self._refuse(HeadTimeout(f"The request's head may take {HEAD_SECONDS:.0f} seconds"))
            else:
                self.transport.close()
