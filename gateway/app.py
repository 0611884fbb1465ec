"""Put the application together from its routes, middleware and services."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from gateway.api import (
    batches,
    corrections,
    events,
    health,
    jobs,
    ocr,
    openapi,
    page_retry,
    problems,
    results,
    search,
    service,
    shares,
    tokens,
    webhooks,
)
from gateway.auth import openapi_security as security
from gateway.compat import docling, external_loader, mistral_files, mistral_ocr
from gateway.connections import limit_connections
from gateway.dependencies import no_store
from gateway.mcp import add_mcp
from gateway.middleware import Middleware
from gateway.request_origin import RequestOrigin
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.web import docs, page
from shared import log, tracing
from shared.process import die_with_parent, freeze_objects

EXPOSED_HEADERS = (
    "Location",
    "Retry-After",
    "ETag",
    "X-Request-ID",
    "X-Job-Id",
    "Preference-Applied",
    "Content-Disposition",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
)

ROUTES = (
    jobs, page_retry, results, events, shares, corrections, search, tokens, webhooks, batches, ocr, health, service,
    docs, page,
    mistral_ocr, mistral_files, external_loader, docling,
)  # fmt: skip


def create_app(settings: GatewaySettings) -> FastAPI:
    """The application; it opens nothing before it is started."""
    services = Services(settings, end_process)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with services, mcp.run():
            yield

    app = FastAPI(
        title="OCR", version="1", description=docs.DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None,
        dependencies=[Depends(no_store)], generate_unique_id_function=openapi.operation_id,
        telemetry={"tracing": tracing.wanted(), "metrics": False, "logs": False, "operation_spans": False},
    )  # fmt: skip
    app.state.services = services
    app.openapi = lambda: security.guarded(openapi.describe(app, settings))  # type: ignore[method-assign]
    add_middleware(app, services)
    problems.add_handlers(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    mcp = add_mcp(app, services)
    app.mount("/web", page.PageFiles(directory=page.FILES), name="web")
    app.mount("/static", docs.assets(), name="static")
    return app


def add_middleware(app: FastAPI, services: Services) -> None:
    """The last one added is the first one a request meets."""
    settings = services.settings
    app.add_middleware(RequestOrigin, settings=settings)
    app.add_middleware(Middleware, settings=settings, metrics=services.metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["*"], allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )  # fmt: skip


class ProcessEnd:
    """Whether this process ends because one of its loops did; its exit code then says so."""

    loop_died = False


def end_process() -> None:
    """Send TERM to this process: responses in progress are completed, and its supervisor restarts it."""
    ProcessEnd.loop_died = True
    os.kill(os.getpid(), signal.SIGTERM)


def from_env() -> FastAPI:
    """The application of a gateway process; uvicorn calls this once it has set its signal handlers."""
    end_with_supervisor()
    settings = GatewaySettings()
    tracing.configure("ocr-gateway")
    log.configure(settings)  # with several processes, each is a new interpreter
    limit_connections(settings)
    app = create_app(settings)
    before_signals(app.state.services.hub.close_soon)
    freeze_objects()
    return app


def end_with_supervisor() -> None:
    """Else one of several processes would serve on without its supervisor, and keep the port from the next gateway."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        die_with_parent(signal.SIGTERM, supervisor.pid or 0)


def before_signals(first: Callable[[], None]) -> None:
    """On INT and TERM call ``first``, then uvicorn's own handler, which waits for streams but does not end them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        following = signal.getsignal(number)

        def handle(number: int, frame: FrameType | None, following: Any = following) -> None:
            first()
            if callable(following):
                following(number, frame)

        signal.signal(number, handle)
