"""The Celery application: one task, whose message is a job's id and nothing else."""

from __future__ import annotations

import re
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutting_down

from shared.store.message import QUEUE, TASK
from worker.broker import pool
from worker.broker.options import application
from worker.engines import jobs_in_flight
from worker.service import WorkerService
from worker.settings import WorkerSettings

JOB_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_service: WorkerService | None = None


def create_app(settings: WorkerSettings) -> Celery:
    app = application("ocr", settings, QUEUE, jobs_in_flight(settings))
    app.task(name=TASK)(read)
    pool.on_init(lambda: _start(settings))
    worker_shutting_down.connect(_drain)
    worker_process_shutdown.connect(_close)
    return app


def read(job_id: str) -> str:
    """Read one job. Whoever can write to Redis can send anything: only a job's id is taken from the message."""
    if not JOB_ID.fullmatch(job_id) or _service is None:
        raise ValueError("not a job's id")
    return pool.run_task(_service.read_job(job_id))


def _start(settings: WorkerSettings) -> None:
    global _service  # Celery's tasks are functions: the engine of the process lives here
    _service = pool.on_loop(WorkerService.start(settings, on_dead=lambda: pool.stop_worker(pool.EXIT_DEAD)))


def _drain(**_: Any) -> None:
    if _service is not None:
        pool.call_soon(_service.drain)


def _close(**_: Any) -> None:
    if _service is not None:
        pool.on_loop(_service.close(), ending=True)
