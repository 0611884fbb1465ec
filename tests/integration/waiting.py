"""Waiting for what a job is to become, by its record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.contract.job import StoredJob
from shared.store.jobs import Store

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
        while (await store.counters()).get(name) != value:
            await asyncio.sleep(0.02)


async def until_event(store: Store, job_id: str, name: str) -> None:
    async with asyncio.timeout(30):
        while name not in await names(store, job_id):
            await asyncio.sleep(0.02)


async def names(store: Store, job_id: str) -> list[str]:
    return [event.name for event in await store.events(job_id)]
