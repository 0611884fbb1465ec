"""The jobs that a run finds in its store when it starts."""

from __future__ import annotations

from typing import Any

import redis

from shared.store import keyspace


def unfinished(store_url: str) -> list[str]:
    """A line for each job that has not ended, the oldest first: ``scan.pdf: 3 of 8 pages``."""
    with redis.Redis.from_url(store_url) as store:
        ids = sorted(job_id.decode() for job_id in store.zrange(keyspace.NEXT_CHECK(), 0, -1))
        return [line for job_id in ids if (line := _line(store, job_id))]


def _line(store: redis.Redis, job_id: str) -> str:
    found: list[Any] = store.hmget(keyspace.JOB(job_id), "filename", "pages_total")
    filename, total = found
    if filename is None or total is None:
        return ""  # it ended just now
    return f"{filename.decode()}: {store.hlen(keyspace.PAGE_SUMMARIES(job_id))} of {int(total)} pages"
