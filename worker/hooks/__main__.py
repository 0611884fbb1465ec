"""``python -m worker.hooks``: one Celery worker on the queue ``webhooks``. Settings come from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.hooks import QUEUE
from shared.settings import Settings
from worker.command import run

if TYPE_CHECKING:
    from celery import Celery


def in_flight(settings: Settings) -> int:
    return settings.webhook_in_flight


def create(settings: Settings) -> Celery:
    from worker.hooks.app import create_app

    return create_app(settings)


def main() -> None:
    run(QUEUE, "hooks", in_flight, create)


if __name__ == "__main__":
    main()
