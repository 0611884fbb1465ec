"""``python -m worker``: one Celery worker of concurrency 1, its engine inside. Settings come from the environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shared.commandline import no_arguments
from shared.payloads.base import BadPayloadStore
from shared.payloads.opening import check_payloads
from worker.broker.command import run
from worker.engines import jobs_in_flight
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from celery import Celery


def read_settings() -> WorkerSettings:
    """The settings, or exit code 1 and one line where the payload store that they name cannot be used."""
    settings = WorkerSettings()
    try:
        check_payloads(settings.payloads_url, settings.redis_url.get_secret_value())
    except BadPayloadStore as error:
        sys.exit(f"settings: payloads_url: {error}")
    return settings


def create(settings: WorkerSettings) -> Celery:
    from worker.app import create_app

    return create_app(settings)


def main() -> None:
    no_arguments("worker", __doc__)
    run("ocr", "ocr", read_settings, jobs_in_flight, create)


if __name__ == "__main__":
    main()
