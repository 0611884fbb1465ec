"""The Celery message of a job: its id and nothing else, as Celery's own client would have sent it.

Written here so that the record and the message enter Redis in one atomic step (``shared/lua/jobs/submit.lua``);
protocol 2 in kombu's Redis envelope. ``tests/integration`` has a real worker take it.
"""

from __future__ import annotations

import base64
import json
import uuid

from shared.store import keyspace

QUEUE = keyspace.QUEUE_HIGH()
TASK = "ocr.read"


def celery_message(job_id: str) -> str:
    """The JSON that ``apply_async((job_id,), task_id=job_id)`` would push; the delivery tag is new each time."""
    return message(TASK, QUEUE, job_id, [job_id])


def message(task: str, queue: str, task_id: str, args: list[str | int]) -> str:
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    headers = {
        "lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None, "group": None,
        "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "argsrepr": repr(tuple(args)),
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
