"""``/mcp``: the tools for agents over streamable HTTP, for the same keys as the rest of the API.

The tools are those of ``ocr mcp``. They ask this application, in this process, with the caller's own key; each request
stands for itself, so any gateway can answer it. Files of this machine cannot be read through it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx
from fastapi import FastAPI
from mcp.server.mcpserver import Context
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.auth.authenticator import given_key
from gateway.services import Services
from ocr_client import AsyncClient
from ocr_client.mcp.server import build_server
from ocr_client.mcp.sources import Sources

PATH: Final = "/mcp"
PATIENCE_SECONDS: Final = 5.0


class McpEndpoint:
    """An ASGI application; ``run`` is entered with the gateway's own life."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        self._app, self._services = app, services
        settings = services.settings
        server = build_server(self._connect, Sources(()), app.version)
        largest = max(settings.max_file_size, settings.max_pdf_size) * 4 // 3
        self._manager = StreamableHTTPSessionManager(
            server._lowlevel_server,  # MCPServer gives its manager only within an application of its own
            stateless=True,
            # Hosts and other sites are the business of gateway.request_origin, for every path alike.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=largest,
        )

    def run(self) -> AbstractAsyncContextManager[None]:
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ``Unauthorized`` and ``RateLimited`` before anything is read."""
        await self._services.authenticator.authenticate(Request(scope))
        await self._manager.handle_request(scope, receive, send)

    @asynccontextmanager
    async def _connect(self, context: Context[Any, Any]) -> AsyncIterator[AsyncClient]:
        """A client of this application with the key of the request that the tool was called by."""
        request = context.request_context.request
        key = given_key(request) if isinstance(request, Request) else None
        transport = httpx.ASGITransport(self._app)
        client = AsyncClient("http://localhost", key, patience=PATIENCE_SECONDS, transport=transport)
        async with client:
            yield client


def add_mcp(app: FastAPI, services: Services) -> McpEndpoint:
    """Add the route; the answer is to be run with the application."""
    endpoint = McpEndpoint(app, services)
    app.router.routes.append(Route(PATH, endpoint, include_in_schema=False))
    return endpoint
