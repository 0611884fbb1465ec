"""The Celery application: one task, whose message is a job's id and nothing else."""

from __future__ import annotations

import re
from typing import Final

from celery import Celery

from shared.store.message import QUEUE, TASK
from worker.broker import pool
from worker.broker.display import ShownTask, show
from worker.broker.hosting import ServiceHost, end_worker
from worker.broker.options import application
from worker.engines import jobs_in_flight
from worker.service import WorkerService
from worker.settings import WorkerSettings

JOB_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_host: Final = ServiceHost[WorkerService]()


def create_app(settings: WorkerSettings) -> Celery:
    app = application("ocr", settings, QUEUE, jobs_in_flight(settings))
    app.task(name=TASK, base=ShownTask)(read)
    _host.host(lambda: WorkerService.start(settings, end_worker, pool.take_messages))
    return app


def read(job_id: str) -> str:
    """Read one job. Whoever can write to Redis can send anything: only a job's id is taken from the message."""
    if not JOB_ID.fullmatch(job_id) or _host.service is None:
        raise ValueError("not a job's id")
    return show(pool.run_task(_host.service.read_job(job_id)))
