"""A Celery worker whose task does nothing, to measure ours against: ``python -m benchmarks.bare_task``.

One process with one thread for the work; Celery's settings are those of our worker, with late acknowledgement and task
events. ``REDIS_URL`` as for the worker.
"""

from __future__ import annotations

import os

from celery import Celery

from worker.broker.options import application
from worker.settings import WorkerSettings

QUEUE, IN_FLIGHT = "bare", 64
TASK = "bare.nothing"


def create(redis_url: str) -> Celery:
    app = application("bare", WorkerSettings(redis_url=redis_url), QUEUE, IN_FLIGHT)
    app.task(name=TASK)(nothing)
    return app


def nothing(job_id: str) -> str:
    return job_id


def main() -> None:
    app = create(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    app.worker_main(["worker", "--pool", "threads", "--concurrency", "1", "--queues", QUEUE, "--loglevel", "warning"])


if __name__ == "__main__":
    main()
