"""How full and how fast the queue is: counters, pages per second, Redis's memory.

Every method raises ``StoreUnavailable`` when Redis cannot serve.
"""

from __future__ import annotations

import time

from shared.settings import StoreSettings
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.keyspace import RANKS, Counter


class QueueStats:
    """What Redis knows of all jobs together."""

    def __init__(self, redis: Client, settings: StoreSettings) -> None:
        self._redis = redis
        self._settings = settings
        self._memory: tuple[float, float] = (0.0, 0.0)  # (when looked up, share of maxmemory in use)

    async def counters(self) -> dict[str, int]:
        """jobs, pages, bytes: unfinished; running; submitted; ended:STATUS; pages:STATUS; leases_lost; …"""
        with store_errors():
            found = await self._redis.hgetall(keyspace.COUNTERS())
        return {name.decode(): int(value) for name, value in found.items()}

    async def waiting(self) -> dict[str, int]:
        """Of ``counters`` what the limits of the queue are about: unfinished jobs, their pages and bytes."""
        with store_errors():
            found = await self._redis.hmget(keyspace.COUNTERS(), Counter.LIMITED)
        return {name: int(value or 0) for name, value in zip(Counter.LIMITED, found, strict=True)}

    async def histograms(self) -> dict[str, int]:
        """The fields of ``histograms`` (``keyspace.Histogram``)."""
        with store_errors():
            found = await self._redis.hgetall(keyspace.HISTOGRAMS())
        return {name.decode(): int(value) for name, value in found.items()}

    async def webhooks_due(self) -> tuple[int, float]:
        """Webhooks that are to be sent, now or later, and for how many seconds the first of them has been due."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zcard(keyspace.WEBHOOKS_DUE())
                pipe.zrange(keyspace.WEBHOOKS_DUE(), 0, 0, withscores=True)
                count, first = await pipe.execute()
        return count, max(0.0, time.time() - first[0][1]) if first else 0.0

    async def memory(self) -> tuple[int, int]:
        """Bytes that Redis uses, and may use; the latter 0 where it has no limit."""
        with store_errors():
            info = await self._redis.info("memory")
        return int(info["used_memory"]), int(info.get("maxmemory") or 0)

    async def retry_after(self) -> float:
        """Seconds until about a tenth of the queue has been read, from the pages of the last minute; 1 to 600."""
        counters, rate = await self.counters(), await self.speed()
        return min(600.0, max(1.0, 0.1 * counters.get(Counter.PAGES, 0) / rate)) if rate else 30.0

    async def speed(self) -> float:
        """Pages of the last minute per second in which any was read; 0 when there were none."""
        now = time.time()  # a hint only; the buckets themselves are Redis's time
        buckets = [int(now / 10) - i for i in range(7)]
        with store_errors():
            pages = await self._redis.mget([keyspace.PAGES_ENDED(bucket) for bucket in buckets])
            busy = await self._redis.mget([keyspace.READING_SECONDS(bucket) for bucket in buckets])
        return per_second(sum(int(n) for n in pages if n), sum(float(seconds) for seconds in busy if seconds))

    async def oldest_queued(self) -> float:
        """Seconds the job that has waited longest has been waiting; 0 when none is."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for rank in RANKS.values():
                    pipe.zrange(keyspace.WAITING(rank), 0, 0, withscores=True)
                first = [float(found[0][1]) for found in await pipe.execute() if found]
        return max(0.0, time.time() - min(first)) if first else 0.0

    async def memory_share(self) -> float:
        """used_memory / maxmemory, looked up once a second; 0 where Redis has no limit."""
        looked, share = self._memory
        if time.monotonic() - looked > 1:
            used, limit = await self.memory()
            share = used / limit if limit else 0.0
            self._memory = (time.monotonic(), share)
        return share


def per_second(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
