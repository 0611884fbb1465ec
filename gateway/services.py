"""Build what the requests share from the settings; open and close it with the application."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from gateway.auth.authenticator import Authenticator
from gateway.background import Background
from gateway.corrections import Corrections
from gateway.documents import DocumentFetcher
from gateway.files import Files
from gateway.inspector import Inspector
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.streaming.event_hub import Hub
from shared.sandbox import SandboxPool
from shared.ssrf_guard import SsrfGuard
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import WebhookStore
from shared.tasks import Loops


class Services:
    """One member per service; ``gateway.dependencies`` hands each to the functions that use it.

    ``on_dead`` is called when a loop of the gateway has ended: the process is to end, too.
    """

    def __init__(self, settings: GatewaySettings, on_dead: Callable[[], object]) -> None:
        url = settings.redis_url.get_secret_value()
        self.settings = settings
        self.metrics = Metrics()
        self.store = Store(connect(url, patient=False), settings)
        self.authenticator = Authenticator(self.store.redis, settings)
        self.webhooks = WebhookStore(self.store.redis, settings)
        self.webhook_secrets = WebhookSecrets(self.store.redis, settings)
        self.guard = SsrfGuard(settings)
        self.documents = DocumentFetcher(settings)
        self.corrections = Corrections(self.store.redis)
        self.files = Files(self.store.redis, settings.file_ttl)
        self._hub_redis = connect(url, patient=False, connections=1)
        self.hub = Hub(self._hub_redis, self.store)
        self.inspector = Inspector(settings)
        self.drawing = SandboxPool(processes=1, memory=settings.render_memory)
        self._loops = Loops(on_dead)
        self.background = Background(lambda: self.hub.closed)

    async def __aenter__(self) -> Services:
        self._loops.start("event hub", self.hub.step)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.close()
        await self._loops.stop()
        await self.background.join()
        await self.inspector.close()
        await self.drawing.close()
        self.guard.close()
        await self.documents.close()
        await self._hub_redis.aclose()
        await self.store.redis.aclose()
