"""What every request shares: built once from the settings, opened and closed with the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Annotated, Any

from fastapi import Depends, Request

from gateway.auth.authenticator import Authenticator
from gateway.metrics import Metrics
from gateway.streaming.event_hub import Hub
from shared.sandbox import SandboxPool
from shared.settings import Settings
from shared.ssrf_guard import Guard
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import WebhookStore
from shared.tasks import stop
from shared.upload_check import Inspector

logger = logging.getLogger(__name__)


class Services:
    def __init__(self, settings: Settings) -> None:
        url = settings.redis_url.get_secret_value()
        self.settings = settings
        self.metrics = Metrics()
        self.store = Store(connect(url, patient=False), settings)
        self.authenticator = Authenticator(self.store.redis, settings)
        self.webhooks = WebhookStore(self.store.redis, settings)
        self.webhook_secrets = WebhookSecrets(self.store.redis, settings)
        self.guard = Guard(settings)
        self._reading = connect(url, patient=True, connections=1)
        self.hub = Hub(self._reading, self.store)
        self.inspector = Inspector(settings)
        self.sandbox = SandboxPool(processes=1, memory=settings.render_memory)  # for drawing boxes
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish this whatever becomes of the request that began it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("work after a request failed", exc_info=error)

    async def __aenter__(self) -> Services:
        self._hub_task = asyncio.get_running_loop().create_task(self.hub.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.close()
        await stop(self._hub_task)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.inspector.close()
        await self.sandbox.close()
        self.guard.close()
        await self._reading.aclose()
        await self.store.redis.aclose()


async def get_services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(get_services)]
