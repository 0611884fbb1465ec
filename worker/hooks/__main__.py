"""``python -m worker.hooks``: one Celery worker on the queue ``webhooks``. Settings come from the environment."""

from __future__ import annotations

import os
import sys

from pydantic import ValidationError

from shared.hooks import QUEUE
from shared.settings import Settings, explain


def arguments(settings: Settings) -> list[str]:
    """Celery's command line, as an operator would type it."""
    return [
        "worker", "--pool", "custom", "--concurrency", "1", "--prefetch-multiplier", str(settings.webhook_in_flight),
        "--queues", QUEUE, "--hostname", f"hooks-{os.getpid()}@%h", "--loglevel", settings.log_level, "--task-events",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(explain(error))
    os.environ["CELERY_CUSTOM_WORKER_POOL"] = "worker.pool:TaskPool"  # Celery's own way to name a pool
    from worker.hooks.app import create_app

    create_app(settings).worker_main(arguments(settings))


if __name__ == "__main__":
    main()
