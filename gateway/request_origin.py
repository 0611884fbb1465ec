"""Requests that a web site makes with its visitor's browser are refused, unless the site is listed.

A service on loopback needs no key, so a page from anywhere could use it through the browser of whoever runs it: by a
request to 127.0.0.1 (``Sec-Fetch-Site`` and ``Origin`` give it away), or by a name of its own that leads to 127.0.0.1
(DNS rebinding; the ``Host`` header gives it away).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.problems import problem
from gateway.auth.authenticator import is_loopback
from gateway.settings import GatewaySettings
from shared.errors import CrossSite, MisdirectedRequest, OCRError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OTHER_SITES: Final = frozenset({"cross-site", "same-site"})


def host_of(authority: str) -> str:
    """``[::1]:8000`` -> ``::1``, ``Example.org:80`` -> ``example.org``; empty where it cannot be read."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


class RequestOrigin:
    """Refuses by ``Host`` (only where the gateway listens on loopback), then changes asked for by another site."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self.app = app
        self._origins = frozenset(settings.cors_origins)
        public = urlsplit(settings.public_url or "").hostname
        self._hosts = frozenset({*settings.allowed_hosts, *([public] if public else [])})
        self._only_loopback = is_loopback(settings.host) and "*" not in self._hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._refusal(scope) if scope["type"] == "http" else None
        if error is None:
            await self.app(scope, receive, send)
        else:
            await problem(error, scope.get("request_id", ""))(scope, receive, send)

    def _refusal(self, scope: Scope) -> OCRError | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if self._only_loopback and not (is_loopback(host) or host in self._hosts):
            return MisdirectedRequest(f"This service answers for localhost, not for {host[:100] or 'no host'}")
        if scope["method"] in SAFE_METHODS or not self._of_another_site(headers):
            return None
        return CrossSite("Another web site sent this request; CORS_ORIGINS lists those that may")

    def _of_another_site(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if "*" in self._origins or (origin is not None and origin in self._origins):
            return False
        if (site := headers.get("sec-fetch-site")) is not None:
            return site in OTHER_SITES
        return origin is not None and urlsplit(origin).netloc != headers.get("host")
