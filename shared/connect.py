"""Connections to Redis: one impatient kind for the gateway, one patient kind for workers.

A gateway answers 503 within five seconds; a worker keeps its work and goes on when the store is back. All scripts are
idempotent, so repeating a call whose reply was lost is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.errors import StoreUnavailable

# redis-py types every reply for both protocols and both decoding modes at once; ours are RESP2 bytes.
Client = Any

_PASSING = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError)
_REFUSALS = ("MISCONF", "OOM", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")


def connect(url: str, *, patient: bool, connections: int = 64) -> Client:
    """A client of its own pool. ``patient``: try for about a minute; else give up within three seconds."""
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
    return Redis(connection_pool=pool)


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
