"""What a sender's process holds: the dispatcher that moves what is due to the queue, and the sender that takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shared import tracing
from shared.store.connect import Client, connect
from shared.store.webhooks import Lease, WebhookStore
from shared.tasks import Loops
from worker.outcome import TaskOutcome
from worker.webhooks.sender import WebhookSender
from worker.webhooks.settings import WebhookSettings

DISPATCH_SECONDS = 1.0


class WebhookService:
    """``redis`` waits with the outcome of a delivery until the store takes it; ``quick`` is the dispatcher's own."""

    def __init__(self, settings: WebhookSettings, redis: Client, quick: Client, on_dead: Callable[[], object]) -> None:
        self._redis, self._quick = redis, quick
        self._webhooks = WebhookStore(quick, settings)
        self._sender = WebhookSender(settings, redis, WebhookStore(redis, settings))
        self._bell = asyncio.Event()
        self._draining = False
        self._loops = Loops(on_dead, settings.heartbeat_file)

    @classmethod
    async def start(cls, settings: WebhookSettings, on_dead: Callable[[], object]) -> WebhookService:
        """Raises ``ValueError`` for an allow-list that makes no sense. Redis need not be there yet."""
        tracing.configure("ocr-webhooks")
        url = settings.redis_url.get_secret_value()
        service = cls(settings, connect(url, patient=True), connect(url, patient=False, connections=2), on_dead)
        service._loops.start("dispatcher", service._dispatch)
        return service

    async def send(self, lease: Lease) -> TaskOutcome:
        """What Celery's task does. As it ends, another webhook of the same receiver may go."""
        try:
            return await self._sender.send(lease)
        finally:
            self._bell.set()

    async def _dispatch(self) -> None:
        self._bell.clear()
        if self._draining or not await self._webhooks.dispatch():
            with suppress(TimeoutError):
                async with asyncio.timeout(DISPATCH_SECONDS):
                    await self._bell.wait()

    def drain(self) -> None:
        """Take nothing more; what is under way ends within its timeout."""
        self._draining = True

    async def close(self) -> None:
        await self._loops.stop()
        await self._sender.close()
        await self._quick.aclose()
        await self._redis.aclose()
