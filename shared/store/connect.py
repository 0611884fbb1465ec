"""Connections to Redis: one impatient kind for the gateway, one patient kind for workers.

A gateway answers 503 within five seconds; a worker keeps its work and goes on when the store is back. Whatever
redis-py raises because the store cannot be reached, cannot serve or does not answer in its protocol has one meaning,
``StoreUnavailable``; only what we asked wrongly (``DataError``) stays what it is.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.errors import StoreFull, StoreUnavailable

# redis-py types every reply for both protocols and both decoding modes at once; ours are RESP2 bytes.
Client = Any
T = TypeVar("T")

logger = logging.getLogger(__name__)

HURRY: Final = 4.0  # seconds a gateway's call to Redis may take in all, with every retry and reconnection
PATIENCE: Final = 60.0  # seconds a worker asks again while Redis refuses
UNREACHABLE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, EOFError)
# First words of refusals that pass without anybody changing what was asked. Such a command or script did nothing.
PASSING: Final = (
    "BUSY", "CLUSTERDOWN", "EXECABORT", "LOADING", "MASTERDOWN", "MISCONF", "NOPERM", "NOREPLICAS", "OOM", "READONLY",
    "TRYAGAIN", "UNBLOCKED", "UNKILLABLE",
)  # fmt: skip
PASSING_WORD: Final = re.compile(rf"(?:^|[^A-Za-z])({'|'.join(PASSING)})\b")  # pipelines and scripts put it in words
CODES: Final[tuple[tuple[type[exceptions.RedisError], str], ...]] = (
    # redis-py takes the first word off these.
    (exceptions.OutOfMemoryError, "OOM"), (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.NoPermissionError, "NOPERM"), (exceptions.ExecAbortError, "EXECABORT"),
    (exceptions.MasterDownError, "MASTERDOWN"), (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"), (exceptions.NoScriptError, "NOSCRIPT"),
)  # fmt: skip


def code_of(error: exceptions.RedisError) -> str:
    """The first word of Redis's refusal, also where it came out of a script; empty for what is none of ``PASSING``."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    found = PASSING_WORD.search(str(error))
    return found[1] if found else ""


def passes(error: exceptions.RedisError) -> bool:
    """Whether asking again may be answered: Redis refused, or what it said was no reply at all."""
    return isinstance(error, exceptions.InvalidResponse) or code_of(error) in PASSING


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(HURRY):
            yield
    except TimeoutError as error:
        raise exceptions.TimeoutError("Redis did not answer in time") from error


@contextmanager
def _readable() -> Iterator[None]:
    """redis-py reads numbers and text out of replies; where there are none, the reply was none."""
    try:
        yield
    except exceptions.RedisError:
        raise  # LockError is a ValueError, too
    except ValueError as error:
        raise exceptions.InvalidResponse(f"Redis's reply cannot be read: {error}") from error


async def _ask_until_taken(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while Redis refuses for a reason that passes, for a minute; redis-py does so for lost connections."""
    backoff = ExponentialWithJitterBackoff(cap=1, base=0.05)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    failures = 0
    while True:
        try:
            with _readable():
                return await ask()
        except exceptions.RedisError as error:
            if not passes(error) or asyncio.get_running_loop().time() > deadline:
                raise
        failures += 1
        await asyncio.sleep(backoff.compute(failures))


class Hurried(Redis):
    """A Redis client that gives up: a frozen server times out every step of a retry, and the steps add up."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _readable():
            async with _in_time():
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> HurriedPipeline:
        return HurriedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class HurriedPipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with _readable():
            async with _in_time():
                return await super().execute(raise_on_error)


class Patient(Redis):
    """A Redis client that asks again for about a minute, whether Redis is away or refuses."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        ask = super().execute_command
        return await _ask_until_taken(lambda: ask(*args, **options))  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> PatientPipeline:
        return PatientPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class PatientPipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = list(self.command_stack)
        run = super().execute

        async def ask() -> list[Any]:
            self.command_stack = list(commands)  # redis-py forgets them, also when they failed
            return await run(raise_on_error)

        return await _ask_until_taken(ask)


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
        retry_on_error=list(UNREACHABLE[:2]),
    )
    # from_pool: `aclose` then closes the connections too.
    return Patient.from_pool(pool) if patient else Hurried.from_pool(pool)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what says that the store cannot serve into ``StoreUnavailable``, or ``StoreFull`` where it has no room."""
    try:
        yield
    except UNREACHABLE as error:
        raise StoreUnavailable(retry_after=2) from error
    except exceptions.DataError:
        raise  # ours: asked with what is no argument
    except exceptions.RedisError as error:
        raise _refusal(error) from error


def _refusal(error: exceptions.RedisError) -> StoreUnavailable:
    code = code_of(error)
    if code == "OOM":
        return StoreFull("The store has no room at the moment", retry_after=10)
    if not passes(error):
        # A wrong type, a script's own error, a command Redis does not know: it says more in the log than to a caller.
        logger.error("Redis refused: %s", error, exc_info=error)
    return StoreUnavailable("The store does not serve at the moment", retry_after=5)
