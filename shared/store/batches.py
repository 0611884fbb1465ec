"""Batches: which jobs were submitted together, and which files of theirs were refused.

Every method raises ``StoreUnavailable`` when Redis cannot serve.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ulid import ULID

from shared.contract.record import BatchRecord, StoredRejection
from shared.errors import IdempotencyMismatch, NotFound
from shared.settings import StoreSettings
from shared.store import keyspace
from shared.store.connect import Client, store_errors


@dataclass(frozen=True, slots=True)
class StoredBatch:
    id: str
    owner: str
    created_at: float
    job_ids: tuple[str, ...]
    rejected: tuple[StoredRejection, ...]


class BatchStore:
    """Batches in Redis. A job enters its batch as it is submitted (``shared/lua/jobs/submit.lua``)."""

    def __init__(self, redis: Client, settings: StoreSettings) -> None:
        self._redis = redis
        self._settings = settings

    async def create(self, owner: str, batch_id: str | None = None, fingerprint: str = "") -> str:
        """A new, empty batch, kept as long as a job and its result can be. One that exists already stays as it is.

        Raises ``IdempotencyMismatch`` if that one was made of something else.
        """
        batch_id = batch_id or str(ULID())
        fields = {"owner": owner, "created": time.time(), "rejected": "[]", "fingerprint": fingerprint}
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                for name, value in fields.items():
                    pipe.hsetnx(keyspace.BATCH(batch_id), name, value)
                pipe.expire(keyspace.BATCH(batch_id), self._ttl)
                await pipe.execute()
        await self.check(batch_id, fingerprint)
        return batch_id

    async def check(self, batch_id: str, fingerprint: str) -> None:
        """Raises ``IdempotencyMismatch`` if there is such a batch, made of something else."""
        with store_errors():
            found = await self._redis.hget(keyspace.BATCH(batch_id), "fingerprint")
        if found is not None and found.decode() != fingerprint:
            raise IdempotencyMismatch()

    async def close(self, batch_id: str, rejected: Sequence[StoredRejection]) -> None:
        """Write down which files were refused, and why."""
        with store_errors():
            value = json.dumps([file.model_dump() for file in rejected])
            await self._redis.hset(keyspace.BATCH(batch_id), "rejected", value)

    async def drop(self, batch_id: str) -> None:
        """Forget a batch into which no job went."""
        with store_errors():
            await self._redis.delete(keyspace.BATCH(batch_id), keyspace.BATCH_JOBS(batch_id))

    async def find(self, batch_id: str, owner: str | None = None) -> StoredBatch:
        """Raises ``NotFound`` also for another owner's batch (None: any)."""
        with store_errors():
            found = await self._redis.hgetall(keyspace.BATCH(batch_id))
            ids = await self._redis.lrange(keyspace.BATCH_JOBS(batch_id), 0, -1)
        if not found:
            raise NotFound("No such batch")
        record = BatchRecord.model_validate({name.decode(): value.decode() for name, value in found.items()})
        if owner is not None and record.owner != owner:
            raise NotFound("No such batch")
        return StoredBatch(batch_id, record.owner, record.created_at, tuple(i.decode() for i in ids), record.rejected)

    @property
    def _ttl(self) -> int:
        return self._settings.max_job_age + 2 * self._settings.result_ttl
