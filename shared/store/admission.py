"""Whether a submission is taken in: room in the queue for work, and room in the stores for what becomes of it.

Two refusals that mean different things: ``QueueFull`` passes as pages are read, ``StoreFull`` as results expire.
"""

from __future__ import annotations

import math
import time
from typing import Final

from shared.errors import QueueFull, StoreFull, StoreUnavailable
from shared.payloads.base import PayloadStore
from shared.settings import StoreSettings
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.keyspace import Counter
from shared.store.queue_stats import QueueStats

LONGEST_SECONDS: Final = 3600.0  # Retry-After of a store without room, at most
REFUSED_SECONDS: Final = 10.0  # a payload store that had no room is not asked again for so long
LOOK_SECONDS: Final = 1.0  # between two looks at the room of the payload store
WAITING: Final = {Counter.JOBS: "jobs", Counter.PAGES: "pages", Counter.BYTES: "bytes of uploads"}


class Admission:
    def __init__(
        self, redis: Client, payloads: PayloadStore | None, settings: StoreSettings, stats: QueueStats
    ) -> None:
        self._redis, self._payloads, self._settings, self._stats = redis, payloads, settings, stats
        self._free: tuple[float, int | None] = (-math.inf, None)  # (when looked up, bytes)
        self._refused_at = -math.inf

    async def refusal(self) -> QueueFull | StoreFull | None:
        """Why a submission would be refused now."""
        return await self._queue() or await self.no_room()

    async def queue_full(self, what: str) -> QueueFull:
        """``what``: the counter whose limit is reached."""
        return QueueFull(f"Too many {WAITING[what]} are waiting", retry_after=await self._stats.retry_after())

    async def refuse_without_room(self) -> None:
        """Raises ``StoreFull`` before anything is stored."""
        if (full := await self.no_room()) is not None:
            raise full

    async def _queue(self) -> QueueFull | None:
        waiting, limits = await self._stats.waiting(), self._settings
        for name, limit in (
            (Counter.JOBS, limits.max_queue_jobs),
            (Counter.PAGES, limits.max_queue_pages),
            (Counter.BYTES, limits.max_queue_bytes),
        ):
            if waiting[name] >= limit:
                return await self.queue_full(name)
        return None

    async def no_room(self) -> StoreFull | None:
        """Redis beyond its share of memory, a payload folder without free space, a bucket that just refused a write."""
        if (share := await self._stats.memory_share()) > self._settings.max_redis_memory:
            return await self.store_full("Redis has", 1 - self._settings.max_redis_memory / share)
        free = await self.payload_free()
        if free is not None and free < self._settings.payloads_min_free:
            return await self.store_full("The payload store has", uploads=self._settings.payloads_min_free - free)
        if time.monotonic() - self._refused_at < REFUSED_SECONDS:
            return await self.store_full("The payload store has", uploads=1)
        return None

    def payloads_refused(self) -> None:
        """The payload store has just refused to take more."""
        self._refused_at = time.monotonic()

    async def payload_free(self) -> int | None:
        """Bytes that the payload store can still take, looked up once a second; None where nobody can say."""
        looked, free = self._free
        if self._payloads is not None and time.monotonic() - looked > LOOK_SECONDS:
            try:
                free = await self._payloads.free()
            except StoreUnavailable:
                free = None
            self._free = (time.monotonic(), free)
        return free

    async def store_full(self, whose: str, share: float = 0.01, uploads: int = 0) -> StoreFull:
        """``share``: of what is kept, as much as has to expire before there is room.

        ``uploads``: as many bytes of uploads would do, too; each goes when its job has been read. 0: they would not.
        """
        waits = [await self._until_expired(share)]
        if uploads:
            waits.append(await self._until_read(uploads))
        return StoreFull(f"{whose} no room for more", retry_after=min(waits))

    async def _until_read(self, room: int) -> float:
        """Seconds until unfinished jobs have given up so many bytes of uploads, as each does at its end; or an hour.

        From the pages of the last minute: where a full store keeps workers from ending pages, that is never.
        """
        counters, rate = await self._stats.counters(), await self._stats.speed()
        held = counters.get(Counter.BYTES, 0)
        if held < room or not rate:
            return LONGEST_SECONDS
        one = held / max(1, counters.get(Counter.JOBS, 0))
        seconds = counters.get(Counter.PAGES, 0) * max(room, one) / held / rate
        return min(LONGEST_SECONDS, max(1.0, seconds + 1))

    async def _until_expired(self, share: float) -> float:
        """Seconds until that share of the finished jobs has expired; an hour where none will, or later."""
        ttl = self._settings.result_ttl
        with store_errors():
            seconds, micro = await self._redis.time()
            now = seconds + micro / 1e6
            # The list has when a record is gone: `result_ttl` after its result.
            kept = await self._redis.zcount(keyspace.ENDED_JOBS(), now + ttl, "+inf")
            found = await self._redis.zrangebyscore(
                keyspace.ENDED_JOBS(), now + ttl, "+inf", start=int(share * kept), num=1, withscores=True
            )
        wait = found[0][1] - ttl - now if found else LONGEST_SECONDS
        return float(min(LONGEST_SECONDS, max(1.0, wait + 1)))
