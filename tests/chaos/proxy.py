"""A proxy between one process and the store that knows where requests and replies end.

Every process of a chaos run has its own, so that a fault can meet one of them alone. A fault is a ``Rule``: asked for
each request, it says what becomes of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

BLOCKING: Final = (b"BRPOP", b"XREAD", b"SUBSCRIBE", b"PSUBSCRIBE")
CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request. ``refuse``: the error it is answered with, unseen by the store."""

    delay: float = 0.0  # seconds by which its reply is late
    refuse: bytes = b""
    lose_request: bool = False  # the connection is cut before the store has it
    lose_reply: bool = False  # ... after the store has done it
    repeat: bool = False  # the store gets it twice


PASS: Final = Fate()
Rule = Callable[[list[bytes]], Fate]


def pass_all(_request: list[bytes]) -> Fate:
    return PASS


def frame_end(data: bytearray, at: int = 0) -> int:
    """Where the RESP value that begins at ``at`` ends; -1 while it is not whole."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return -1
    kind, end = data[at], line + 2
    if kind not in b"$*":
        return end
    count = int(data[at + 1 : line])
    if kind == ord("$"):
        end += max(0, count) + (2 if count >= 0 else 0)
        return end if end <= len(data) else -1
    for _ in range(max(0, count)):
        end = frame_end(data, end)
        if end < 0:
            return -1
    return end


def words(frame: bytes, most: int = 3) -> list[bytes]:
    """The first words of a request: its command, its script."""
    found: list[bytes] = []
    at = frame.find(b"\r\n") + 2
    while at < len(frame) and len(found) < most:
        line = frame.find(b"\r\n", at)
        size = int(frame[at + 1 : line])
        found.append(bytes(frame[line + 2 : line + 2 + size]))
        at = line + 4 + size
    return found


class StoreProxy:
    """Listens on ``port`` and passes on to the store. ``rule`` may be set at any time."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self.rule: Rule = pass_all
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> StoreProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        return self

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        self._writers.add(writer)
        try:
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._store_port, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        finally:
            self._writers.discard(writer)
        self._writers |= {writer, store_writer}
        connection = Connection(self, writer, store_writer)
        ways = [
            asyncio.ensure_future(connection.requests(reader)),
            asyncio.ensure_future(connection.replies(store_reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for one in (writer, store_writer):
                one.transport.abort()
                self._writers.discard(one)
            self._tasks.discard(task)


class Connection:
    """One connection of the process, and its other half to the store. ``_due``: the fates of the replies to come."""

    def __init__(self, proxy: StoreProxy, client: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        self._proxy, self._client, self._store = proxy, client, store
        self._due: deque[Fate | None] = deque()  # None: nobody asked for that reply

    async def requests(self, reader: asyncio.StreamReader) -> None:
        buffer = bytearray()
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                buffer += data
                while buffer and (end := frame_end(buffer)) > 0:
                    frame = bytes(buffer[:end])
                    del buffer[:end]
                    if not await self._request(frame):
                        return

    async def _request(self, frame: bytes) -> bool:
        request = words(frame)
        fate = self._proxy.rule(request)
        if request[0].upper() in BLOCKING:
            fate = replace(fate, delay=0.0, repeat=False)
        if fate.lose_request or self._store.is_closing():
            return False
        if fate.refuse:
            while self._due:
                await asyncio.sleep(0.001)  # replies come in the order of the requests
            self._client.write(fate.refuse)
            return True
        self._due.append(fate)
        self._store.write(frame)
        if fate.repeat:
            self._due.append(None)
            self._store.write(frame)
        await self._store.drain()
        return True

    async def replies(self, reader: asyncio.StreamReader) -> None:
        buffer = bytearray()
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                buffer += data
                while buffer and (end := frame_end(buffer)) > 0:
                    fate = self._due.popleft() if self._due else PASS  # a message of a subscription has no request
                    if fate is not None:
                        if fate.lose_reply or self._client.is_closing():
                            return
                        if fate.delay:
                            await asyncio.sleep(fate.delay)
                        self._client.write(bytes(buffer[:end]))
                    del buffer[:end]
                await self._client.drain()
