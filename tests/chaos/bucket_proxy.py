"""A proxy between the processes of a chaos run and the S3 server: what the bucket does can be changed at any time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

CHUNK: Final = 1 << 16
SLOW_SECONDS: Final = 0.5
ANSWERS: Final = {
    "full": (507, "Insufficient Storage", "InsufficientStorage"),
    "refused": (503, "Service Unavailable", "SlowDown"),
}


class BucketProxy:
    """``state``: ``ok``, ``slow``, ``full`` and ``refused`` (answered so, unseen by the server), or ``away``."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._state = "ok"
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> BucketProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def become(self, state: str) -> None:
        """From now on; what is under way is cut off."""
        self._state = state
        for writer in list(self._connections):
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.become("away")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if self._state in ANSWERS:
                await _refuse(reader, writer, *ANSWERS[self._state])
            elif self._state != "away":
                await self._pass_on(reader, writer)
        except OSError:
            return  # either end has gone
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [
            asyncio.ensure_future(self._copy(reader, server_writer)),
            asyncio.ensure_future(self._copy(server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server_writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._state == "slow":
                    await asyncio.sleep(SLOW_SECONDS)
                writer.write(data)
                await writer.drain()


async def _refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, reason: str, code: str
) -> None:
    """Answer one request. Its body is read first, or the client would not see the answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next((int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"content-length")), 0)
    await reader.readexactly(length)
    body = f"<Error><Code>{code}</Code></Error>".encode()
    lines = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(lines.encode() + body)
    await writer.drain()
