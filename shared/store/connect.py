"""Connections to Redis: one impatient kind for the gateway, one patient kind for workers.

A gateway answers 503 within five seconds; a worker keeps its work and goes on when the store is back. All scripts are
idempotent, so repeating a call whose reply was lost is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.errors import StoreUnavailable

# redis-py types every reply for both protocols and both decoding modes at once; ours are RESP2 bytes.
Client = Any

_PASSING = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError)
_REFUSALS = ("MISCONF", "OOM", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")


HURRY = 4.0  # seconds a gateway's call to Redis may take in all, with every retry and reconnection


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(HURRY):
            yield
    except TimeoutError as error:
        raise exceptions.TimeoutError("Redis did not answer in time") from error


class Hurried(Redis):
    """A Redis client that gives up: a frozen server times out every step of a retry, and the steps add up."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with _in_time():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> HurriedPipeline:
        return HurriedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class HurriedPipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with _in_time():
            return await super().execute(raise_on_error)


def connect(url: str, *, patient: bool, connections: int = 64) -> Client:
    """A client of its own pool. ``patient``: try for about a minute; else give up within four seconds."""
    backoff = ExponentialWithJitterBackoff(cap=1, base=0.05)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=60 if patient else 2,
        socket_timeout=10 if patient else 2,
        socket_connect_timeout=5 if patient else 1,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(backoff, 60 if patient else 1),
        retry_on_error=list(_PASSING),
    )
    # from_pool: `aclose` then closes the connections too.
    return Redis.from_pool(pool) if patient else Hurried.from_pool(pool)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what Redis says when it cannot serve into ``StoreUnavailable``; anything else is a bug and stays one."""
    try:
        yield
    except _PASSING as error:
        raise StoreUnavailable(retry_after=2) from error
    except exceptions.ResponseError as error:
        if str(error).startswith(_REFUSALS) or any(f" {word} " in str(error) for word in _REFUSALS):
            raise StoreUnavailable("The store takes no writes at the moment", retry_after=5) from error
        raise
