"""Build what the requests share from the settings; open and close it with the application."""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway.auth.authenticator import Authenticator
from gateway.background import Background
from gateway.inspector import Inspector
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.streaming.event_hub import Hub
from shared.sandbox import SandboxPool
from shared.ssrf_guard import Guard
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import WebhookStore
from shared.tasks import stop


class Services:
    """One member per service; ``gateway.dependencies`` hands each to the functions that use it."""

    def __init__(self, settings: GatewaySettings) -> None:
        url = settings.redis_url.get_secret_value()
        self.settings = settings
        self.metrics = Metrics()
        self.background = Background()
        self.store = Store(connect(url, patient=False), settings)
        self.authenticator = Authenticator(self.store.redis, settings)
        self.webhooks = WebhookStore(self.store.redis, settings)
        self.webhook_secrets = WebhookSecrets(self.store.redis, settings)
        self.guard = Guard(settings)
        self._hub_redis = connect(url, patient=True, connections=1)
        self.hub = Hub(self._hub_redis, self.store)
        self.inspector = Inspector(settings)
        self.drawing = SandboxPool(processes=1, memory=settings.render_memory)

    async def __aenter__(self) -> Services:
        self._hub_task = asyncio.get_running_loop().create_task(self.hub.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.close()
        await stop(self._hub_task)
        await self.background.join()
        await self.inspector.close()
        await self.drawing.close()
        self.guard.close()
        await self._hub_redis.aclose()
        await self.store.redis.aclose()
