"""What a sender's process holds: the dispatcher that moves what is due to the queue, and the sender that takes it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from shared.errors import StoreUnavailable
from shared.settings import Settings
from shared.store.connect import Client, connect
from shared.store.webhooks import Lease, WebhookStore
from worker.webhooks.sender import WebhookSender

logger = logging.getLogger(__name__)

DISPATCH_SECONDS = 1.0


class WebhookService:
    def __init__(self, settings: Settings, redis: Client) -> None:
        self._redis = redis
        self._heartbeat_file = settings.heartbeat_file
        self._webhooks = WebhookStore(redis, settings)
        self._sender = WebhookSender(settings, redis, self._webhooks)
        self._bell = asyncio.Event()
        self._dispatching: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, settings: Settings) -> WebhookService:
        """Raises ``ValueError`` for an allow-list that makes no sense, and ``StoreUnavailable``."""
        redis = connect(settings.redis_url.get_secret_value(), patient=True)
        service = cls(settings, redis)
        service._dispatching = asyncio.create_task(service._dispatch())
        return service

    async def send(self, lease: Lease) -> str:
        """What Celery's task does. As it ends, another webhook of the same receiver may go."""
        try:
            return await self._sender.send(lease)
        finally:
            self._bell.set()

    async def _dispatch(self) -> None:
        while True:
            self._bell.clear()
            try:
                moved = await self._webhooks.dispatch()
            except StoreUnavailable as error:
                logger.warning("dispatching waits for the store: %s", error)
                moved = 0
            if self._heartbeat_file is not None:
                self._heartbeat_file.touch()
            if not moved:
                await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DISPATCH_SECONDS):
                await self._bell.wait()

    def drain(self) -> None:
        """Take nothing more; what is under way ends within its timeout."""
        if self._dispatching is not None:
            self._dispatching.cancel()

    async def close(self) -> None:
        if self._dispatching is not None:
            self._dispatching.cancel()
            await asyncio.wait([self._dispatching])
        await self._sender.close()
        await self._redis.aclose()
