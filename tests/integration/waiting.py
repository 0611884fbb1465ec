"""Waiting for what a job is to become, by its record; and what is left of a deleted one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.contract.job import StoredJob
from shared.store import keyspace
from shared.store.jobs import Store
from tools.valkey import Valkey

FIXTURES = "tests.engines.fixtures"


async def ended(store: Store, job_id: str, seconds: float = 40) -> StoredJob:
    async with asyncio.timeout(seconds):
        while not (job := await store.job(job_id)).finished:
            await asyncio.sleep(0.02)
    return job


async def until(store: Store, job_id: str, condition: Callable[[StoredJob], bool], seconds: float = 30) -> StoredJob:
    async with asyncio.timeout(seconds):
        while not condition(job := await store.job(job_id)):
            await asyncio.sleep(0.02)
    return job


async def until_counter(store: Store, name: str, value: int) -> None:
    async with asyncio.timeout(30):
        while (await store.stats.counters()).get(name) != value:
            await asyncio.sleep(0.02)


async def until_event(store: Store, job_id: str, name: str) -> None:
    async with asyncio.timeout(30):
        while name not in await names(store, job_id):
            await asyncio.sleep(0.02)


async def names(store: Store, job_id: str) -> list[str]:
    return [event.name for event in await store.events(job_id)]


def left_of(valkey: Valkey, job_id: str) -> list[bytes]:
    """The keys of a deleted job. Its last event does not count: it stays some seconds for those who follow the job."""
    events = keyspace.EVENTS(job_id)
    if valkey.client.exists(events):
        assert 0 < valkey.client.ttl(events) <= 10
        assert valkey.client.xlen(events) == 1
    return [key for key in valkey.client.scan_iter() if job_id.encode() in key and key != events.encode()]
