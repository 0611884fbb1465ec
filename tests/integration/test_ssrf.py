"""No connection to a refused address, however it is spelled: a listener on every address of this machine counts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpcore
import pytest

from shared.ssrf_guard import Blocked, GuardedBackend, SsrfGuard, Unresolved
from tests.conftest import make_settings
from tests.settings import Settings

NAMES = {
    "internal.test": ["10.0.0.5"],
    "loop.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "half.test": ["93.184.215.14", "127.0.0.1"],
    "half6.test": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "nothing.test": [],
    "public.test": ["93.184.215.14"],
}

# Every one of them leads, on some system or by some parser, to this machine or its neighbours. {port}: the listener's.
HOSTS = [
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "0", "0.0.0.0",  # noqa: S104
    "2130706433",
    "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "127.127.127.127",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[::ffff:0:127.0.0.1]", "[fe80::1]", "[fe80::1%25lo]", "[fec0::1]",
    "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]",
    "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "100.64.0.1",
    "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "internal.test", "loop.test", "metadata.test", "half.test", "half6.test", "mapped.test",
    "nat64.test", "nothing.test", "user@127.0.0.1", "public.test@127.0.0.1", "127.0.0.1%2f@public.test",
    "public.test%00.127.0.0.1", "127.0.0.1%23@public.test", "%31%32%37.0.0.1", "public.test\\@127.0.0.1",
    "①②⑦.⓪.⓪.①", "127。0。0。1", "ｌｏｃａｌｈｏｓｔ",
]  # fmt: skip
URLS = [f"http://{host}:{{port}}/hook" for host in HOSTS] + [
    "gopher://127.0.0.1:{port}/_x", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "unix:/run/docker.sock",
    "http:///127.0.0.1:{port}/", "http://:{port}/", "//127.0.0.1:{port}/", "http://127.0.0.1:{port}\t/", "http://[::1/",
    "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "dict://127.0.0.1:{port}/", "http://127.0.0.1\r\nHost: x:{port}/",
]  # fmt: skip


@dataclass
class Listener:
    """Counts every TCP connection to this machine's ``port``, on IPv4 and IPv6."""

    port: int = 0
    connections: list[Any] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer.get_extra_info("peername"))
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    first = await asyncio.start_server(made.serve, "0.0.0.0", 0)  # noqa: S104 - to see what must not come
    made.port = first.sockets[0].getsockname()[1]
    servers = [first]
    if socket.has_ipv6:
        servers.append(await asyncio.start_server(made.serve, "::", made.port, family=socket.AF_INET6))
    yield made
    for server in servers:
        server.close()


class Names:
    """A resolver that knows ``NAMES`` and asks the system for the rest; it remembers what it was asked."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host in self._answers:
            answers = self._answers[host]
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if host in NAMES:
            return NAMES[host]
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(info[4][0]) for info in infos]


def open_settings(port: int, **more: Any) -> Settings:
    """Everything allowed that can be, so that the address alone decides."""
    return make_settings("redis://unused", webhook_allow_http=True, webhook_ports=(port, 80, 443), **more)


async def post(guard: SsrfGuard, url: str, inner: Any = None) -> int:
    backend = GuardedBackend(guard, inner)
    async with httpcore.AsyncConnectionPool(network_backend=backend, retries=0) as pool:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
        answer = await pool.request("POST", url, content=b"{}", extensions={"timeout": timeout})
        return answer.status


REFUSALS = (Blocked, Unresolved, httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, ValueError, TypeError)


class PublicStays(httpcore.AnyIOBackend):
    """Connects for real, but to nobody's public address: some spellings lead to other people's servers, not to ours."""

    async def connect_tcp(self, host: str, *more: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        if host in NAMES["public.test"]:
            raise Blocked("recorded")
        return await super().connect_tcp(host, *more, **named)


def test_there_are_at_least_sixty_spellings() -> None:
    assert len(set(URLS)) >= 60


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
async def test_a_refused_target_is_refused_at_submission(url: str, listener: Listener) -> None:
    with pytest.raises((Blocked, Unresolved)):
        await SsrfGuard(open_settings(listener.port), Names()).check(url.format(port=listener.port))
    assert listener.connections == []


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
async def test_a_refused_target_sees_no_connection_when_sent(url: str, listener: Listener) -> None:
    """Past the first check, as if it had been let through: the connection itself is refused."""
    with pytest.raises(REFUSALS):
        await post(SsrfGuard(open_settings(listener.port), Names()), url.format(port=listener.port), PublicStays())
    assert listener.connections == []


async def test_the_listener_does_see_who_is_allowed(listener: Listener) -> None:
    guard = SsrfGuard(open_settings(listener.port, webhook_allow=("127.0.0.0/8", "::1", "Receiver.test")), Names())
    assert await post(guard, f"http://127.0.0.1:{listener.port}/") == 200
    assert await post(guard, f"http://[::1]:{listener.port}/") == 200
    names = Names(**{"receiver.test": [["127.0.0.1"]]})
    allowed_by_name = SsrfGuard(open_settings(listener.port, webhook_allow=("Receiver.test.",)), names)
    assert await post(allowed_by_name, f"http://receiver.test:{listener.port}/") == 200
    with pytest.raises(Blocked):
        await post(allowed_by_name, f"http://127.0.0.1:{listener.port}/")
    assert len(listener.connections) == 3


class Recording(httpcore.AsyncNetworkBackend):
    """Connects to nothing and remembers where to."""

    def __init__(self) -> None:
        self.to: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.to.append(host)
        raise httpcore.ConnectError("recorded")


async def test_a_name_that_changes_its_mind_is_asked_once_and_never_connected_to_by_name(listener: Listener) -> None:
    names = Names(**{"rebind.test": [["93.184.215.14"], ["127.0.0.1"]]})
    recording = Recording()
    with pytest.raises(httpcore.ConnectError):
        await post(SsrfGuard(open_settings(listener.port), names), f"http://rebind.test:{listener.port}/", recording)
    assert (names.asked, recording.to) == (["rebind.test"], ["93.184.215.14"])


async def test_a_name_that_was_public_at_submission_is_refused_when_it_no_longer_is(listener: Listener) -> None:
    names = Names(**{"rebind.test": [["93.184.215.14"], ["127.0.0.1"]]})
    guard = SsrfGuard(open_settings(listener.port), names)
    url = f"http://rebind.test:{listener.port}/"
    await guard.check(url)
    with pytest.raises(Blocked):
        await post(guard, url)
    assert listener.connections == []


async def test_every_public_address_of_a_name_is_tried() -> None:
    names = Names(**{"two.test": [["93.184.215.14", "93.184.215.15"]]})
    recording = Recording()
    with pytest.raises(httpcore.ConnectError):
        await post(SsrfGuard(open_settings(80), names), "http://two.test/", recording)
    assert recording.to == ["93.184.215.14", "93.184.215.15"]


@pytest.mark.parametrize(
    "url", ["http://public.test/", "https://public.test:8443/", "https://public.test:22/", "ws://public.test/"]
)
async def test_https_on_its_own_port_is_the_default(url: str) -> None:
    guard = SsrfGuard(make_settings("redis://unused"), Names())
    await guard.check("https://public.test/a?b=c")
    with pytest.raises(Blocked):
        await guard.check(url)


async def test_a_name_server_that_is_away_is_no_verdict() -> None:
    async def away(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(Unresolved):
        await SsrfGuard(make_settings("redis://unused"), away).check("https://public.test/")


def test_an_allow_list_that_makes_no_sense_stops_the_start() -> None:
    with pytest.raises(ValueError):
        SsrfGuard(make_settings("redis://unused", webhook_allow=("10.0.0.0/99",)))
