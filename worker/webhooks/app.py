"""The Celery application of the senders: one task, whose message is a webhook's id and its lease's token."""

from __future__ import annotations

import re
from typing import Any, Final

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutting_down

from shared.store.webhooks import QUEUE, TASK, Lease
from worker.broker import pool
from worker.broker.options import application
from worker.webhooks.service import WebhookService
from worker.webhooks.settings import WebhookSettings

WEBHOOK_ID: Final = re.compile(r"msg_[0-9A-HJKMNP-TV-Z]{26}_[a-z]{1,20}")
_service: WebhookService | None = None


def create_app(settings: WebhookSettings) -> Celery:
    app = application("ocr-webhooks", settings, QUEUE, settings.webhook_in_flight)
    app.task(name=TASK)(send)
    pool.on_init(lambda: _start(settings))
    worker_shutting_down.connect(_drain)
    worker_process_shutdown.connect(_close)
    return app


def send(webhook_id: str, token: int) -> str:
    """One delivery. Whoever can write to Redis can send anything: only an id and a number are taken from it."""
    if not WEBHOOK_ID.fullmatch(str(webhook_id)) or not isinstance(token, int) or _service is None:
        raise ValueError("not a webhook's id and token")
    return pool.run_task(_service.send(Lease(webhook_id, token)))


def _start(settings: WebhookSettings) -> None:
    global _service  # Celery's tasks are functions: the sender of the process lives here
    _service = pool.on_loop(WebhookService.start(settings, on_dead=lambda: pool.stop_worker(pool.EXIT_DEAD)))


def _drain(**_: Any) -> None:
    if _service is not None:
        pool.call_soon(_service.drain)


def _close(**_: Any) -> None:
    if _service is not None:
        pool.on_loop(_service.close(), ending=True)
