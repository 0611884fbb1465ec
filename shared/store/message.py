"""The Celery message of a job: its id and, to be shown, what it is; as Celery's own client would have sent it.

Written here so that the record and the message enter Redis in one atomic step (``shared/lua/jobs/submit.lua``);
protocol 2 in kombu's Redis envelope. ``tests/integration`` has a real worker take it.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contract.job import NewJob, StoredJob
from shared.store import keyspace

QUEUE = keyspace.QUEUE_HIGH()
TASK = "ocr.read"


MESSAGE_FIELDS = ("filename", "pages_total", "owner", "rank")
"""What of a record ``Described.of`` takes."""


@dataclass(frozen=True, slots=True)
class Described:
    """What operators see of a job in place of its arguments; ``filename`` is "" where files are not to be named."""

    filename: str
    pages: int
    owner: str
    priority: str

    @classmethod
    def of(cls, fields: Sequence[str], *, filename: bool) -> Described:
        """From the values of ``MESSAGE_FIELDS``; those of a record that has gone are empty."""
        name, pages, owner, rank = fields
        priority = next((priority.value for priority, its in keyspace.RANKS.items() if its == rank), "")
        return cls(name if filename else "", int(pages or 0), owner, priority)

    @classmethod
    def job(cls, job: StoredJob, *, filename: bool) -> Described:
        its = job.input.filename if filename else ""
        return cls(its, job.progress.pages_total, job.owner, job.options.priority.value)

    @classmethod
    def new(cls, new: NewJob, *, filename: bool) -> Described:
        return cls(new.input.filename if filename else "", new.pages, new.owner, new.options.priority.value)

    def __str__(self) -> str:
        pages = "1 page" if self.pages == 1 else f"{self.pages} pages"
        return ", ".join(filter(None, [self.filename, pages, self.owner, self.priority]))


def celery_message(job_id: str, described: Described | None = None) -> str:
    """The JSON that ``apply_async((job_id,), task_id=job_id)`` would push; the delivery tag is new each time.

    ``described`` is shown by Flower as the task's arguments.
    """
    return message(TASK, QUEUE, job_id, [job_id], None if described is None else str(described))


def message(task: str, queue: str, task_id: str, args: list[str | int], shown: str | None = None) -> str:
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    headers = {
        "lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None, "group": None,
        "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "argsrepr": shown or repr(tuple(args)),
        "kwargsrepr": "{}", "origin": "gateway", "ignore_result": True,
    }  # fmt: skip
    properties = {
        "correlation_id": task_id, "reply_to": "", "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": queue}, "delivery_tag": str(uuid.uuid4()),
    }  # fmt: skip
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )
