"""Documents that a caller names by a URL, fetched behind a guard of their own; off unless ``document_urls`` says so."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import httpcore

from gateway.settings import GatewaySettings
from shared.errors import BadDocumentUrl, FileTooLarge
from shared.ssrf_guard import Blocked, GuardedBackend, SsrfGuard, Unresolved

AGENT: Final = "ocr-service/1"
MAX_REDIRECTS: Final = 3
MAX_URL_CHARS: Final = 2048
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchedDocument:
    """``filename``: the last part of the URL's path; may be empty."""

    data: bytes = field(repr=False)
    filename: str


class DocumentFetcher:
    """Fetches with ``GET``; every URL, also one it is redirected to, and every connection passes the guard.

    The guard's rules are ``document_url_*``, not those of webhooks: what a webhook may be sent to is not thereby
    something that callers may read.
    """

    def __init__(self, settings: GatewaySettings, context: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._guard = SsrfGuard(
            settings.model_copy(
                update={
                    "webhook_allow": settings.document_url_allow,
                    "webhook_ports": settings.document_url_ports,
                    "webhook_allow_http": settings.document_url_allow_http,
                }
            )
        )
        # As for webhooks: each fetch looks the name up and checks it, and there is no proxy and no cookie.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=GuardedBackend(self._guard), max_keepalive_connections=0, retries=0
        )

    async def fetch(self, url: str) -> FetchedDocument:
        """The document at ``url``. Raises ``BadDocumentUrl`` and ``FileTooLarge``."""
        if not self._settings.document_urls:
            raise BadDocumentUrl("This service fetches no documents from URLs (DOCUMENT_URLS): send the file itself")
        if len(url) > MAX_URL_CHARS:
            raise BadDocumentUrl(f"The document's URL may have {MAX_URL_CHARS} characters")
        try:
            async with asyncio.timeout(self._settings.document_url_timeout):
                return await self._follow(url)
        except Blocked as error:
            raise BadDocumentUrl(f"The document's URL is not fetched: {error}") from None
        except Unresolved as error:
            raise BadDocumentUrl(f"The document cannot be fetched: {error}") from None
        except TimeoutError:
            raise BadDocumentUrl("The document cannot be fetched: its server is too slow") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            raise BadDocumentUrl("The document cannot be fetched: its server does not answer properly") from None

    async def _follow(self, url: str) -> FetchedDocument:
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._get(url)
            if isinstance(found, bytes):
                return FetchedDocument(found, unquote(urlsplit(url).path.rpartition("/")[2]))
            url = urljoin(url, found)
        raise BadDocumentUrl(f"The document's URL redirects more than {MAX_REDIRECTS} times")

    async def _get(self, url: str) -> bytes | str:
        """The body, or where the answer redirects to."""
        self._guard.rules.read(url)
        headers = [("user-agent", AGENT), ("accept", "application/pdf, image/*"), ("accept-encoding", "identity")]
        async with self._pool.stream("GET", url, headers=headers) as answer:
            given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in REDIRECTS and "location" in given:
                return given["location"]
            if answer.status != 200:
                raise BadDocumentUrl(f"The document cannot be fetched: its server answers {answer.status}")
            return await self._body(answer)

    async def _body(self, answer: httpcore.Response) -> bytes:
        limit = max(self._settings.max_file_size, self._settings.max_pdf_size)
        body = bytearray()
        async for chunk in answer.aiter_stream():
            body += chunk
            if len(body) > limit:
                raise FileTooLarge(f"The document at that URL has more than the {limit} bytes that are accepted")
        return bytes(body)

    async def close(self) -> None:
        await self._pool.aclose()
        self._guard.close()
