"""Shared by ``python -m worker`` and ``python -m worker.webhooks``: settings from the environment, Celery's command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from shared import log
from shared.settings import SharedSettings, explain

if TYPE_CHECKING:
    from celery import Celery

S = TypeVar("S", bound=SharedSettings)


def arguments(queue: str, name: str, in_flight: int, settings: SharedSettings) -> list[str]:
    """Celery's command line, as an operator would type it."""
    return [
        "--quiet", "worker", "--pool", "custom", "--concurrency", "1", "--prefetch-multiplier", str(in_flight),
        "--queues", queue, "--hostname", f"{name}-{os.getpid()}@%h", "--loglevel", settings.log_level, "--task-events",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip


def run(
    queue: str, name: str, read: Callable[[], S], in_flight: Callable[[S], int], create: Callable[[S], Celery]
) -> None:
    """Run a worker of concurrency 1 on ``queue`` until it is told to stop; exits non-zero where it cannot start.

    ``create`` is called after Celery's pool has been named and imports Celery itself: the name is read only once.
    """
    try:
        settings = read()
        jobs = in_flight(settings)
    except ValidationError as error:
        sys.exit(explain(error))
    log.configure(settings)
    # Celery's own way to name a pool; it looks once, when its concurrency package is first imported.
    os.environ["CELERY_CUSTOM_WORKER_POOL"] = "worker.broker.pool:TaskPool"
    app = create(settings)
    from celery.bin.celery import celery
    from celery.signals import setup_logging

    # A receiver of this signal is all the set-up of logs there is: Celery adds none of its own.
    setup_logging.connect(lambda **_: log.configure(settings), weak=False)
    celery.params[0].default = app  # as Celery.start does, which drops the exit code
    celery.main(args=arguments(queue, name, jobs, settings), prog_name="celery")
