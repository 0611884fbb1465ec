"""``python -m worker``: one Celery worker of concurrency 1, its engine inside. Settings come from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.commandline import no_arguments
from worker.broker.command import run
from worker.engines import jobs_in_flight
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from celery import Celery


def create(settings: WorkerSettings) -> Celery:
    from worker.app import create_app

    return create_app(settings)


def main() -> None:
    no_arguments("worker", __doc__)
    run("ocr", "ocr", WorkerSettings, jobs_in_flight, create)


if __name__ == "__main__":
    main()
