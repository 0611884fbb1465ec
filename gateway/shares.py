"""Share links: whoever has one may read one job, until it expires or the job's owner revokes it.

The link's token is random and kept as a digest only; it is worth as much as a key, for one job and for reading.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from gateway.auth.api_keys import digest
from shared.store import keyspace
from shared.store.connect import Client, store_errors

TOKEN_BYTES: Final = 24
PREFIX: Final = "share_"


@dataclass(frozen=True, slots=True)
class Share:
    """What a link opens: one job of one owner."""

    job_id: str
    owner: str


class Shares:
    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def create(self, job_id: str, owner: str, seconds: int) -> str:
        """A new token for the job, valid for ``seconds``."""
        token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        share, shares = keyspace.SHARE(digest(token)), keyspace.SHARES_OF_JOB(job_id)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(share, mapping={"job": job_id, "owner": owner})
                pipe.expire(share, seconds)
                pipe.sadd(shares, digest(token))
                pipe.expire(shares, seconds, gt=True)
                pipe.expire(shares, seconds, nx=True)
                await pipe.execute()
        return token

    async def find(self, token: str) -> Share | None:
        """What the token opens; None when it was never given out, has expired or was revoked."""
        with store_errors():
            job_id, owner = await self._redis.hmget(keyspace.SHARE(digest(token)), "job", "owner")
        return Share(job_id.decode(), owner.decode()) if job_id and owner else None

    async def revoke(self, job_id: str) -> int:
        """End every link of the job; how many there were."""
        shares = keyspace.SHARES_OF_JOB(job_id)
        with store_errors():
            digests = await self._redis.smembers(shares)
            await self._redis.delete(shares, *(keyspace.SHARE(one.decode()) for one in digests))
        return len(digests)
