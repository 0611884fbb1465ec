"""What a connection may cost: heads, URLs, silence, bodies that stop, answers nobody reads, and connections at all."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway import connections
from gateway.app import create_app
from gateway.connections import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES, BoundedProtocol
from gateway.settings import GatewaySettings
from tests.conftest import make_settings
from tools.valkey import Valkey

Address = tuple[str, int]
GOOD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[Address]:
    """An application behind the gateway's own protocol, on a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=BoundedProtocol, ws="none", log_level="warning"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        await server.shutdown()


@pytest.fixture
async def gateway_address(valkey: Valkey) -> AsyncIterator[Address]:
    async with served(create_app(make_settings(valkey.url, body_timeout=0.5))) as address:
        yield address


async def answer(address: Address, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """The status and body of what is answered to these bytes, which may be answered before they are all sent."""
    reader, writer = await asyncio.open_connection(*address)
    reading = asyncio.create_task(read_answer(reader))
    try:
        async with asyncio.timeout(20):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if reading.done():
                    break
            return await reading
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return int(head.split()[1]), json.loads(body) if body else {}


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET /livez HTTP/1.1", b"Host: 127.0.0.1", *lines, b"", b""))


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (head(), 200, None),
        (head(*[b"X-%d: y" % n for n in range(MAX_HEADERS - 1)]), 200, None),
        (head(*[b"X-%d: y" % n for n in range(MAX_HEADERS)]), 431, "head-too-large"),
        (head(b"X: " + b"y" * (MAX_HEAD_BYTES - 1000)), 200, None),
        (head(b"X: " + b"y" * MAX_HEAD_BYTES), 431, "head-too-large"),
        (b"GET /livez?" + b"y" * (MAX_URL_BYTES - 100) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, None),
        (b"GET /livez?" + b"y" * MAX_URL_BYTES + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414, "url-too-long"),
        (b"this is not HTTP\r\n\r\n", 400, "bad-option"),
    ],
)
async def test_heads_have_a_size(gateway_address: Address, request_head: bytes, status: int, code: str | None) -> None:
    found, problem = await answer(gateway_address, request_head)
    assert (found, problem.get("code")) == (status, code)
    assert (await answer(gateway_address, GOOD))[0] == 200


@pytest.mark.parametrize(
    "start", [b"GET /livez HTTP/1.1\r\nX: ", b"GET /", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"]
)
async def test_a_head_without_end_is_refused_before_it_is_kept(gateway_address: Address, start: bytes) -> None:
    """40 MB of one header, of a URL, or of many headers: no more than a few chunks are ever held."""
    piece = (b"X: y\r\n" if start.endswith(b"\n") else b"y") * 40_000
    status, problem = await answer(gateway_address, start, *[piece] * 1000)
    assert status in (414, 431)
    assert problem["code"] in ("url-too-long", "head-too-large")


async def test_trailers_have_a_size_too(gateway_address: Address) -> None:
    start = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    start += b"Transfer-Encoding: chunked\r\n\r\n2\r\n--\r\n0\r\nX: "
    status, _ = await answer(gateway_address, start, *[b"y" * 40_000] * 500)
    assert status == 431


async def test_many_small_chunks_are_no_flood(gateway_address: Address) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="type"\r\n\r\n' + b"x" * 30_000 + b"\r\n--b--\r\n"
    start = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    start += b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    status, problem = await answer(gateway_address, start, chunks)
    assert (status, problem["code"]) == (400, "file-missing")


async def test_an_upload_that_stops_in_the_middle_is_refused(gateway_address: Address) -> None:
    start = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    status, problem = await answer(gateway_address, start + b"Content-Length: 100000\r\n\r\n--b\r\n")
    assert (status, problem["code"]) == (408, "body-timeout")


async def test_an_upload_that_drips_is_refused(gateway_address: Address) -> None:
    reader, writer = await asyncio.open_connection(*gateway_address)
    start = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    writer.write(start + b"Content-Length: 100000\r\n\r\n--b\r\n")
    answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    async with asyncio.timeout(20):
        while not answered.done():
            writer.write(b"-")
            await asyncio.sleep(0.1)
    assert b" 408 " in answered.result().splitlines()[0]
    writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("sent", "told"),
    [([], b""), ([b"GET /livez HT"], b"head-timeout"), ([GOOD, b"GET /li"], b"head-timeout"), ([GOOD, b"\r\n"], b"")],
)
async def test_silence_before_a_request_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, gateway_address: Address, sent: list[bytes], told: bytes
) -> None:
    monkeypatch.setattr(connections, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(connections, "MAX_HEAD_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection(*gateway_address)
    for piece in sent:
        writer.write(piece)
        if piece == GOOD:
            assert (await read_answer(reader))[0] == 200
    assert told in await ended(reader)
    writer.transport.abort()


async def test_a_reader_that_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(connections, "MAX_UNREAD_SECONDS", 0.4)
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        leaving = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            await asyncio.sleep(0)
        ended.set()

    async with served(app) as address:
        _, writer = await asyncio.open_connection(*address, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GOOD)
        async with asyncio.timeout(20):
            await ended.wait()
        writer.transport.abort()


async def test_a_slow_reader_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(connections, "MAX_UNREAD_SECONDS", 1.0)
    size = 8 * 2**20

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
            await send({"type": "http.response.body", "body": b"x" * size})

    async with served(app) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GOOD)
        await reader.readuntil(b"\r\n\r\n")
        for part in range(16):
            assert len(await reader.readexactly(size // 16)) == size // 16, part
            await asyncio.sleep(0.1)
        writer.transport.abort()


async def test_one_connection_too_many_closes_the_one_idle_longest(
    monkeypatch: pytest.MonkeyPatch, gateway_address: Address
) -> None:
    monkeypatch.setattr(BoundedProtocol, "max_connections", 3)
    idle = []
    for _ in range(3):
        idle.append(await asyncio.open_connection(*gateway_address))
        await asyncio.sleep(0.05)
    assert (await answer(gateway_address, GOOD))[0] == 200
    assert await ended(idle[0][0]) == b""
    for _, writer in idle:
        writer.transport.abort()


def test_as_many_connections_as_files_allow(monkeypatch: pytest.MonkeyPatch, settings: GatewaySettings) -> None:
    limits = [(1024, 2048)]
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, given: limits.append(given))
    monkeypatch.setattr(BoundedProtocol, "max_connections", 0)
    connections.limit_connections(settings)
    assert limits[-1] == (2048, 2048)
    assert BoundedProtocol.max_connections == 2048 - connections.OTHER_DESCRIPTORS
