"""Short-lived tokens for URLs: a browser's EventSource cannot send a key. One token, one job, reading only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from shared.store import former_names, keyspace
from shared.store.connect import Client, store_errors


class Tokens:
    """Signed by a secret that the gateways share through Redis, made at first need; nothing is stored per token."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._secret: bytes | None = None

    async def make(self, job_id: str, owner: str, expires_at: int) -> str:
        return f"{expires_at}.{owner}.{await self._sign(job_id, owner, str(expires_at))}"

    async def owner(self, token: str, job_id: str) -> str | None:
        """The owner as whom the token reads this job; None when the token is for another job, or has expired."""
        expires, _, rest = token.partition(".")
        owner, _, signature = rest.rpartition(".")
        expected = await self._sign(job_id, owner, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        return owner if int(expires) > time.time() else None

    async def _sign(self, job_id: str, owner: str, expires: str) -> str:
        text = f"{job_id}\n{owner}\n{expires}".encode("utf-8", "surrogateescape")
        return hmac.new(await self._key(), text, hashlib.sha256).hexdigest()

    async def _key(self) -> bytes:
        if self._secret is None:
            # A gateway of the release before must sign with the same one.
            former = await self._stored(former_names.URL_TOKEN_SECRET, secrets.token_hex(32).encode())
            self._secret = await self._stored(keyspace.URL_TOKEN_SECRET(), former)
        return self._secret

    async def _stored(self, key: str, value: bytes) -> bytes:
        """The key's value, which is ``value`` if it had none."""
        with store_errors():
            found: bytes | None = await self._redis.set(key, value, nx=True, get=True)
        return value if found is None else found
