"""The Celery application of the senders: one task, whose message is a webhook's id and its lease's token."""

from __future__ import annotations

import re
from typing import Final

from celery import Celery

from shared.store.webhooks import QUEUE, TASK, Lease
from worker.broker import pool
from worker.broker.display import ShownTask, show
from worker.broker.hosting import ServiceHost, end_worker
from worker.broker.options import application
from worker.webhooks.service import WebhookService
from worker.webhooks.settings import WebhookSettings

WEBHOOK_ID: Final = re.compile(r"msg_[0-9A-HJKMNP-TV-Z]{26}_[a-z]{1,20}")
_host: Final = ServiceHost[WebhookService]()


def create_app(settings: WebhookSettings) -> Celery:
    app = application("ocr-webhooks", settings, QUEUE, settings.webhook_in_flight)
    app.task(name=TASK, base=ShownTask)(send)
    _host.host(lambda: WebhookService.start(settings, on_dead=end_worker))
    return app


def send(webhook_id: str, token: int) -> str:
    """One delivery. Whoever can write to Redis can send anything: only an id and a number are taken from it."""
    if not WEBHOOK_ID.fullmatch(str(webhook_id)) or not isinstance(token, int) or _host.service is None:
        raise ValueError("not a webhook's id and token")
    return show(pool.run_task(_host.service.send(Lease(webhook_id, token))))
