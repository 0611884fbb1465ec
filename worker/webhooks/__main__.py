"""``python -m worker.webhooks``: one Celery worker on the queue ``webhooks``. Settings come from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.commandline import no_arguments
from shared.store.webhooks import QUEUE
from worker.broker.command import run
from worker.webhooks.settings import WebhookSettings

if TYPE_CHECKING:
    from celery import Celery


def in_flight(settings: WebhookSettings) -> int:
    return settings.webhook_in_flight


def create(settings: WebhookSettings) -> Celery:
    from worker.webhooks.app import create_app

    return create_app(settings)


def main() -> None:
    no_arguments("worker.webhooks", __doc__)
    run(QUEUE, "webhooks", WebhookSettings, in_flight, create)


if __name__ == "__main__":
    main()
