"""``python -m worker``: one Celery worker of concurrency 1, its engine inside. Settings come from the environment."""

from __future__ import annotations

import os
import sys

from pydantic import ValidationError

from shared.settings import Settings, explain
from worker.engines import jobs_in_flight


def arguments(settings: Settings) -> list[str]:
    """Celery's command line, as an operator would type it."""
    return [
        "worker", "--pool", "custom", "--concurrency", "1", "--prefetch-multiplier", str(jobs_in_flight(settings)),
        "--queues", "ocr", "--hostname", f"ocr-{os.getpid()}@%h", "--loglevel", settings.log_level, "--task-events",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(explain(error))
    # Celery's own way to name a pool; it looks once, when its concurrency package is first imported.
    os.environ["CELERY_CUSTOM_WORKER_POOL"] = "worker.pool:TaskPool"
    from celery.bin.celery import celery

    from worker.app import create_app

    celery.params[0].default = create_app(settings)  # as Celery.start does, which drops the exit code
    celery.main(args=arguments(settings), prog_name="celery")


if __name__ == "__main__":
    main()
