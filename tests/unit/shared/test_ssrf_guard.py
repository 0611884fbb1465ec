"""The guard by itself: which URLs, ports and addresses are called, and how a connection is made to them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from shared.ssrf_guard import (
    CONNECT_SECONDS,
    MAX_LOOKUPS,
    Blocked,
    GuardedBackend,
    Origin,
    Rules,
    SsrfGuard,
    SystemResolver,
    Unresolved,
    is_public,
)
from tests.conftest import make_settings
from tests.settings import Settings

PUBLIC, OTHER = "93.184.215.14", "93.184.215.15"


def settings(**more: Any) -> Settings:
    return make_settings("redis://unused", **more)


def names(*addresses: str) -> Callable[[str, int], Any]:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


# -- addresses


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "192.0.1.255", "192.1.0.0", "192.88.98.255", "198.17.255.255", "198.20.0.0",
     "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2003::1", "2001:200::1"],
)  # fmt: skip
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.255.255", "192.0.0.9",  # noqa: S104
     "192.0.0.255", "192.0.2.1", "192.88.99.0", "192.88.99.255", "192.168.0.1", "198.18.0.0", "198.19.255.255",
     "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.0", "255.255.255.255",
     "::", "::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "100::1", "2001::1", "2001:1::1", "2001:20::1",
     "2001:db8::1", "2002:101:101::", "3fff::1", "3fff:fff:ffff::1", "4000::1", "5f00::1", "fc00::1", "fe80::1",
     "ff02::1", "1fff::1"],
)  # fmt: skip
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


# -- rules


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://public.test", Origin("https", "public.test", 443)),
        ("https://Public.test./a?b#c", Origin("https", "public.test", 443)),
        ("https://public.test../", Origin("https", "public.test", 443)),
        ("https://x.xn--p1ai/", Origin("https", "x.xn--p1ai", 443)),
        ("https://public.test:443/", Origin("https", "public.test", 443)),
        ("https://[2606:4700::1111]/", Origin("https", "2606:4700::1111", 443)),
    ],
)
def test_a_url_is_read_into_its_origin(url: str, origin: Origin) -> None:
    assert Rules(settings()).read(url) == origin


def test_http_is_read_only_where_it_is_allowed_and_has_a_port_of_its_own() -> None:
    assert Rules(settings(webhook_allow_http=True, webhook_ports=(80,))).read("http://x.test/").port == 80
    with pytest.raises(Blocked, match=r"^only https URLs are called$"):
        Rules(settings(webhook_ports=())).read("http://x.test/")
    with pytest.raises(Blocked, match=r"^only https and http URLs are called$"):
        Rules(settings(webhook_allow_http=True)).read("ftp://x.test/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://x.test:99999/", "^it is not a URL$"),
        ("https://[::1/", "^it is not a URL$"),
        ("https://x.test/a b", "^it is not a URL; other characters have to be escaped$"),
        ("https://x.test/a\x7f", "^it is not a URL; other characters"),
        ("https://x.test/\x1f", "^it is not a URL; other characters"),
        ("https://x.test\\@y.test/", "^it is not a URL; other characters"),
        ("https://ü.test/", "^it is not a URL; other characters"),
        ("https:///path", "^it names no host$"),
        ("https://.x.test/", "^its host is no name that could be looked up$"),
        ("https://x..test/", "^its host is no name that could be looked up$"),
        (f"https://{'x' * 64}.test/", "^its host is no name that could be looked up$"),
        ("https://xn--99999999/", "^its host is no name that could be looked up$"),
        ("https://x.XN--99999999/", "^its host is no name that could be looked up$"),
        ("https://./", "^it names no host$"),
        ("https://user@x.test/", "^user names, passwords and escapes before the path are not accepted$"),
        ("https://x%2etest/", "^user names, passwords and escapes before the path are not accepted$"),
        ("https://x.test:0/", "^port 0 is not called$"),
        ("https://x.test:8443/", "^port 8443 is not called$"),
    ],
)
def test_a_url_is_refused_with_its_reason(url: str, why: str) -> None:
    with pytest.raises(Blocked, match=why):
        Rules(settings()).read(url)


def test_a_tilde_and_an_exclamation_mark_are_characters_of_urls() -> None:
    assert Rules(settings()).read("https://x.test/!~").host == "x.test"


def test_without_a_list_of_ports_any_port_is_called_but_port_0() -> None:
    rules = Rules(settings(webhook_ports=()))
    assert rules.read("https://x.test:1/").port == 1
    assert rules.read("https://x.test:65535/").port == 65535
    with pytest.raises(Blocked, match="port 0"):
        rules.read("https://x.test:0/")


# -- allow-lists


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("10.0.0.0/8", "10.0.0.5"),
        ("10.0.0.0/8", "::ffff:10.0.0.5"),  # as a name server may write it
        ("10.0.0.5", "10.0.0.5"),
        ("fd00::/8", "fd00:ec2::254"),
        ("fe80::/10", "fe80::1%eth0"),
        ("receiver.test", "10.0.0.5"),
        ("Receiver.TEST.", "10.0.0.5"),
    ],
)
def test_an_allowed_receiver_need_not_be_public(allowed: str, address: str) -> None:
    rules = Rules(settings(webhook_allow=(allowed,)))
    assert rules.check_addresses("receiver.test", [address]) == [address]


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("receiver.test", ["127.0.0.1"]),
        ("receiver.test", ["::ffff:127.0.0.1"]),
        ("receiver.test", [PUBLIC, "10.1.2.3", "192.168.0.1"]),
        ("not-receiver.test", ["192.168.0.1"]),
    ],
)
def test_one_address_that_is_not_allowed_refuses_them_all(host: str, addresses: list[str]) -> None:
    rules = Rules(settings(webhook_allow=("10.0.0.0/8", "other.test")))
    with pytest.raises(Blocked, match=r"^its address is not a public one$"):
        rules.check_addresses(host, addresses)


def test_public_and_allowed_addresses_may_be_mixed() -> None:
    rules = Rules(settings(webhook_allow=("10.0.0.0/8",)))
    assert rules.check_addresses("x.test", [PUBLIC, "10.0.0.5"]) == [PUBLIC, "10.0.0.5"]


def test_a_name_is_allowed_however_it_is_written() -> None:
    rules = Rules(settings(webhook_allow=("receiver.test",)))
    assert rules.check_addresses("RECEIVER.test.", ["10.0.0.5"]) == ["10.0.0.5"]


def test_the_same_address_twice_is_one() -> None:
    assert Rules(settings()).check_addresses("x.test", [PUBLIC, OTHER, PUBLIC]) == [PUBLIC, OTHER]


def test_a_name_without_an_address_is_refused_even_where_it_is_allowed() -> None:
    with pytest.raises(Blocked, match=r"^its name has no address$"):
        Rules(settings(webhook_allow=("x.test",))).check_addresses("x.test", [])


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "receiver.test/24", "10.0.0.1/8"])
def test_an_entry_that_looks_like_a_network_and_is_none_stops_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        Rules(settings(webhook_allow=(entry,)))


# -- looking names up


async def test_a_port_is_refused_before_any_name_is_looked_up() -> None:
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [PUBLIC]

    guard = SsrfGuard(settings(), resolve)
    with pytest.raises(Blocked, match="port 22"):
        await guard.addresses("x.test", 22)
    assert asked == []
    assert await guard.addresses("x.test", 443) == [PUBLIC]
    assert await guard.check("https://x.test./") == Origin("https", "x.test", 443)
    assert asked == [("x.test", 443)] * 2


@pytest.mark.parametrize(
    ("error", "raised", "why"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "away"), Unresolved, "^its name cannot be looked up just now$"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Blocked, "^its name is not known$"),
        (UnicodeError("label too long"), Blocked, "^its name is not known$"),
    ],
)
async def test_a_lookup_that_fails_says_whether_another_may_not(
    error: Exception, raised: type[Exception], why: str
) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        raise error

    with pytest.raises(raised, match=why):
        await SsrfGuard(settings(), resolve).addresses("x.test", 443)


async def test_the_systems_resolver_knows_this_machine_and_gives_each_address_once() -> None:
    resolver = SystemResolver()
    try:
        found = await resolver("localhost", 443)
        assert set(found) <= {"127.0.0.1", "::1"}
        assert len(found) == len(set(found)) > 0
    finally:
        resolver.close()


async def test_a_slow_name_server_delays_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = threading.Barrier(MAX_LOOKUPS)

    def look_up(_host: str, _port: int) -> list[Any]:
        everyone.wait(20)  # until as many are being looked up at once
        return [(0, 0, 0, "", (PUBLIC, 443))]

    monkeypatch.setattr(SystemResolver, "_look_up", staticmethod(look_up))
    resolver = SystemResolver()
    found = await asyncio.gather(*(resolver(f"x{number}.test", 443) for number in range(MAX_LOOKUPS)))
    assert found == [[PUBLIC]] * MAX_LOOKUPS
    resolver.close()


async def test_closing_waits_for_no_lookup_and_begins_none(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    answered = threading.Event()

    def look_up(host: str, _port: int) -> list[Any]:
        events.append(host)
        answered.wait(10)
        events.append("answered")
        return []

    monkeypatch.setattr("shared.ssrf_guard.MAX_LOOKUPS", 1)
    monkeypatch.setattr(SystemResolver, "_look_up", staticmethod(look_up))
    resolver = SystemResolver()
    lookups = [asyncio.ensure_future(resolver(host, 443)) for host in ("slow.test", "next.test")]
    while not events:
        await asyncio.sleep(0.01)
    resolver.close()
    assert events == ["slow.test"]
    answered.set()
    await asyncio.wait(lookups)
    assert events == ["slow.test", "answered"]


async def test_a_closed_guard_has_closed_its_resolver() -> None:
    guard = SsrfGuard(settings())
    guard.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        await guard.addresses("localhost", 443)
    SsrfGuard(settings(), names()).close()  # a resolver of a test's own is the test's


# -- connecting


class Connections(httpcore.AsyncNetworkBackend):
    """Notes every connection and makes those to ``reached``; the error for the others is ``error``."""

    def __init__(self, *reached: str, error: type[Exception] = httpcore.ConnectError) -> None:
        self.made: list[tuple[Any, ...]] = []
        self._reached, self._error = reached, error

    async def connect_tcp(self, host: str, port: int, *more: Any, **_: Any) -> httpcore.AsyncNetworkStream:
        self.made.append((host, port, *more))
        if host not in self._reached:
            raise self._error("recorded")
        return httpcore.AsyncMockStream([])


@pytest.mark.parametrize(("asked", "given"), [(None, CONNECT_SECONDS), (15.0, 5.0), (5.0, 5.0), (2.0, 2.0), (0.5, 0.5)])
async def test_a_connection_has_five_seconds_at_most_so_that_the_next_address_has_its_turn(
    asked: float | None, given: float
) -> None:
    inner = Connections(OTHER)
    backend = GuardedBackend(SsrfGuard(settings(), names(PUBLIC, OTHER)), inner)
    options = [(1, 2, 3)]
    await backend.connect_tcp("x.test", 443, asked, "local", options)
    assert inner.made == [(PUBLIC, 443, given, "local", options), (OTHER, 443, given, "local", options)]


@pytest.mark.parametrize("error", [httpcore.ConnectError, httpcore.ConnectTimeout])
async def test_the_last_addresss_error_is_the_connections(error: type[Exception]) -> None:
    inner = Connections(error=error)
    with pytest.raises(error):
        await GuardedBackend(SsrfGuard(settings(), names(PUBLIC, OTHER)), inner).connect_tcp("x.test", 443)
    assert [to for to, *_ in inner.made] == [PUBLIC, OTHER]


async def test_every_address_has_its_turn_in_the_names_order() -> None:
    third = "93.184.215.16"
    inner = Connections(third)
    await GuardedBackend(SsrfGuard(settings(), names(PUBLIC, OTHER, third)), inner).connect_tcp("x.test", 443)
    assert [to for to, *_ in inner.made] == [PUBLIC, OTHER, third]


async def test_the_first_address_that_answers_is_taken() -> None:
    inner = Connections(PUBLIC, OTHER)
    await GuardedBackend(SsrfGuard(settings(), names(PUBLIC, OTHER)), inner).connect_tcp("x.test", 443)
    assert [to for to, *_ in inner.made] == [PUBLIC]


async def test_sockets_of_this_machine_are_not_connected_to() -> None:
    with pytest.raises(Blocked, match=r"^sockets of this machine are not called$"):
        await GuardedBackend(SsrfGuard(settings(), names())).connect_unix_socket("/run/docker.sock")


async def test_a_pause_between_tries_is_slept() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await GuardedBackend(SsrfGuard(settings(), names())).sleep(0.05)
    assert loop.time() - began >= 0.045
