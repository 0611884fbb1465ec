"""Outbound requests to caller-supplied URLs, guarded against server-side request forgery (SSRF).

The same code checks twice: a URL when it is submitted, and each connection by the addresses its name has then.
A connection goes to an address that was checked, never to a name, so a name that changes its mind in between (DNS
rebinding) changes nothing; no packet is sent to a refused address. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpcore

from shared.settings import DeliverySettings

# Global by Python's tables (or by some version's), yet never the address of a public receiver.
REFUSED_V4: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4")))
UNICAST_V6: Final = IPv6Network("2000::/3")  # the rest of IPv6 holds loopback, mapped, translated, local, multicast
REFUSED_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
MAX_LOOKUPS: Final = 64  # names being looked up at once; a slow name server delays only its own
CONNECT_SECONDS: Final = 5.0

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Blocked(Exception):
    """This URL or address is not called. The text is shown to the caller: it names no internal address."""


class Unresolved(Exception):
    """The name cannot be looked up now; a later attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to the public Internet, and to no local, private or special network."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in REFUSED_V4)
    return address in UNICAST_V6 and address.is_global and not any(address in net for net in REFUSED_V6)


def is_host_name(host: str) -> bool:
    """Whether every label of the name can be encoded and, where it is punycode, decoded."""
    try:
        for label in host.rstrip(".").encode("idna").lower().split(b"."):
            if label.startswith(b"xn--"):
                label[4:].decode("punycode").encode()
    except (ValueError, IndexError, OverflowError):  # the codecs raise more than they say
        return False
    return True


def _unknown(error: OSError | ValueError) -> Blocked | Unresolved:
    """What a failed lookup means: no such name, or nobody who could say so just now."""
    if isinstance(error, ValueError) or (isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN):
        return Blocked("its name is not known")
    return Unresolved("its name cannot be looked up just now")


class Rules:
    """Which receivers the settings ``webhook_*`` allow. Raises ``ValueError`` for a rule that makes no sense."""

    def __init__(self, settings: DeliverySettings) -> None:
        self.schemes = ("https", "http") if settings.webhook_allow_http else ("https",)
        self.ports = frozenset(settings.webhook_ports)
        self._hosts, self._networks = _split(settings.webhook_allow)

    def read(self, url: str) -> Origin:
        """The URL's origin. Raises ``Blocked`` for a URL that is refused whatever its name resolves to."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Blocked("it is not a URL") from None
        self._check_form(url, parts)
        if parts.scheme not in self.schemes:
            raise Blocked(f"only {' and '.join(self.schemes)} URLs are called")
        if port is None:
            port = 443 if parts.scheme == "https" else 80
        self.check_port(port)
        return Origin(parts.scheme, (parts.hostname or "").rstrip("."), port)

    @staticmethod
    def _check_form(url: str, parts: SplitResult) -> None:
        if not url.isascii() or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url) or "\\" in url:
            raise Blocked("it is not a URL; other characters have to be escaped")
        if not parts.hostname or not parts.hostname.strip("."):
            raise Blocked("it names no host")
        if not is_host_name(parts.hostname):
            raise Blocked("its host is no name that could be looked up")
        if "@" in parts.netloc or "%" in parts.netloc:
            raise Blocked("user names, passwords and escapes before the path are not accepted")

    def check_port(self, port: int) -> None:
        if port == 0 or (self.ports and port not in self.ports):
            raise Blocked(f"port {port} is not called")

    def check_addresses(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses without duplicates. Raises ``Blocked`` unless every one may be connected to."""
        found = list(dict.fromkeys(addresses))
        if not found:
            raise Blocked("its name has no address")
        if host.lower().rstrip(".") not in self._hosts and not all(map(self._may_connect, found)):
            raise Blocked("its address is not a public one")
        return found

    def _may_connect(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return is_public(address) or any(address in net for net in self._networks)


def _split(allowed: Iterable[str]) -> tuple[frozenset[str], tuple[Any, ...]]:
    """Split into host names and networks (a single address is a network of one)."""
    hosts, networks = set(), []
    for entry in allowed:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            if "/" in entry:
                raise
            hosts.add(entry.lower().rstrip("."))
    return frozenset(hosts), tuple(networks)


class SystemResolver:
    """The system's lookup in its own threads, so that no other work of the process waits for a name server."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(self._threads, self._look_up, host, port)
        return [str(info[4][0]) for info in infos]

    @staticmethod
    def _look_up(host: str, port: int) -> list[Any]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class SsrfGuard:
    """Turns a host into addresses that may be connected to. ``resolve`` is for tests; the system's by default."""

    def __init__(self, settings: DeliverySettings, resolve: Resolve | None = None) -> None:
        self.rules = Rules(settings)
        self._resolve = resolve or SystemResolver()

    async def addresses(self, host: str, port: int) -> list[str]:
        """Raises ``Blocked`` and ``Unresolved``."""
        self.rules.check_port(port)
        try:
            found = await self._resolve(host, port)
        except (OSError, ValueError) as error:
            raise _unknown(error) from None
        return self.rules.check_addresses(host, found)

    async def check(self, url: str) -> Origin:
        """Check a submitted URL: syntax, scheme, port, current addresses. Raises ``Blocked`` and ``Unresolved``."""
        origin = self.rules.read(url)
        await self.addresses(origin.host, origin.port)
        return origin

    def close(self) -> None:
        if isinstance(self._resolve, SystemResolver):
            self._resolve.close()


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's network backend behind an ``SsrfGuard``: one lookup, then a connection to a checked address."""

    def __init__(self, guard: SsrfGuard, inner: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._guard.addresses(host, port)
        seconds = min(timeout or CONNECT_SECONDS, CONNECT_SECONDS)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next address of the same name
        return await self._inner.connect_tcp(addresses[-1], port, seconds, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        raise Blocked("sockets of this machine are not called")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
