"""API keys. Redis keeps only their digests, and the settings may bring more.

A key is ``ocr_<id>_<256 random bits>``; a plain SHA-256 is enough for what nobody can guess. ``owner`` is what the
jobs of a key are filed under: its id, or that of the key it was made to replace.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import Field

from gateway.settings import GatewaySettings
from shared.contract.document import Frozen
from shared.contract.job import ANONYMOUS
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.connect import Client, store_errors

ID: Final = re.compile(r"[0-9a-f]{12}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MIN_GIVEN_KEY_CHARS: Final = 24  # of a key that the settings bring
NO_DIGEST: Final = "0" * 64  # compared with where no key has the id, so that it takes equally long


class Scope(StrEnum):
    """What a key may do. A key that names none may submit and read."""

    SUBMIT = "submit"  #: create, cancel, correct and delete jobs
    READ = "read"  #: see its owner's jobs and results
    ADMIN = "admin"  #: see the whole service


DEFAULT_SCOPES: Final = frozenset({Scope.SUBMIT, Scope.READ})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """``rate``: requests a minute, ``burst``: at once, ``pages``: a day; None for what the settings say.

    ``scopes``: what it may do. ``expires_at``: seconds since the epoch; None: never.
    """

    id: str
    name: str
    owner: str
    created_at: float
    revoked_at: float | None = None
    rate: int | None = None
    burst: int | None = None
    pages: int | None = None
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    expires_at: float | None = None


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def given_keys(settings: GatewaySettings) -> dict[str, str]:
    """Name -> digest of the keys that the settings bring. Raises ``ValueError``, which names no key."""
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in settings.api_keys.get_secret_value().split(","))):
        name, _, key = entry.partition("=")
        if not NAME.fullmatch(name) or name == ANONYMOUS or name in found:
            raise ValueError("every key needs a name of its own: alice=KEY,bob=KEY")
        if len(key) < MIN_GIVEN_KEY_CHARS:
            raise ValueError(f"every key must have at least {MIN_GIVEN_KEY_CHARS} characters, and a name: alice=KEY")
        found[name] = digest(key)
    return found


class ApiKeys:
    def __init__(self, redis: Client, settings: GatewaySettings) -> None:
        self._redis = redis
        self._given = given_keys(settings)

    async def exist(self) -> bool:
        """Whether any key was ever made: after the last one is revoked, a key is still needed."""
        with store_errors():
            return bool(self._given) or bool(await self._redis.exists(keyspace.API_KEYS()))

    async def create(
        self, name: str, *, owner: str | None = None, rate: int | None = None, burst: int | None = None,
        pages: int | None = None, scopes: frozenset[Scope] = DEFAULT_SCOPES, expires_at: float | None = None,
    ) -> tuple[ApiKey, str]:  # fmt: skip
        """The key's record and the key itself, which cannot be shown again. Raises ``ValueError`` for a bad name."""
        if not NAME.fullmatch(name) or (owner is not None and not NAME.fullmatch(owner)):
            raise ValueError("names and owners have letters, digits, dots, dashes and underscores, at most 64")
        key_id = secrets.token_hex(6)
        text = f"ocr_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(key_id, name, owner or key_id, time.time(), None, rate, burst, pages, scopes, expires_at)
        fields = {"name": name, "owner": key.owner, "created": key.created_at, "digest": digest(text)}
        fields |= {
            what: value
            for what, value in (("rate", rate), ("burst", burst), ("pages", pages), ("expires", expires_at))
            if value
        }
        fields["scopes"] = ",".join(sorted(scopes))
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keyspace.API_KEY(key_id), mapping=fields)
                pipe.sadd(keyspace.API_KEYS(), key_id)
                await pipe.execute()
        return key, text

    async def list(self) -> list[ApiKey]:
        """Every key of the store, the oldest first; never their digests."""
        with store_errors():
            ids = [key_id.decode() for key_id in await self._redis.smembers(keyspace.API_KEYS())]
            found = [(key_id, _record(await self._redis.hgetall(keyspace.API_KEY(key_id)))) for key_id in ids]
        return sorted((_key(key_id, record) for key_id, record in found if record), key=lambda key: key.created_at)

    async def revoke(self, key_id: str) -> None:
        """Refuse the key from now on; its jobs stay. Raises ``NotFound``."""
        with store_errors():
            if not ID.fullmatch(key_id) or not await self._redis.exists(keyspace.API_KEY(key_id)):
                raise NotFound("There is no such key")
            await self._redis.hsetnx(keyspace.API_KEY(key_id), "revoked", time.time())

    async def verify(self, text: str) -> ApiKey | None:
        """The record of this key; None where there is none, or it was revoked."""
        prefix, _, rest = text.partition("_")
        key_id = rest.partition("_")[0]
        if prefix == "ocr" and ID.fullmatch(key_id):
            with store_errors():
                record = _record(await self._redis.hgetall(keyspace.API_KEY(key_id)))
            known = record.digest if record is not None else NO_DIGEST
            if hmac.compare_digest(known, digest(text)) and record is not None and record.is_valid(time.time()):
                return _key(key_id, record)
        return self._find_given(digest(text))

    def _find_given(self, its: str) -> ApiKey | None:
        names = [name for name, known in self._given.items() if hmac.compare_digest(known, its)]
        return ApiKey(f"given.{names[0]}", names[0], f"given.{names[0]}", 0.0) if names else None


class KeyRecord(Frozen):
    """The fields of the hash ``key:ID``."""

    name: str
    owner: str
    created_at: float = Field(alias="created")
    digest: str
    revoked_at: float | None = Field(None, alias="revoked")
    rate: int | None = None
    burst: int | None = None
    pages: int | None = None
    scopes: str = ""
    expires_at: float | None = Field(None, alias="expires")

    def is_valid(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def _record(stored: Mapping[bytes, bytes]) -> KeyRecord | None:
    return (
        KeyRecord.model_validate({name.decode(): value.decode() for name, value in stored.items()}) if stored else None
    )


def _key(key_id: str, record: KeyRecord) -> ApiKey:
    return ApiKey(
        key_id, record.name, record.owner, record.created_at, record.revoked_at, record.rate, record.burst,
        record.pages,
        frozenset(Scope(scope) for scope in record.scopes.split(",")) if record.scopes else DEFAULT_SCOPES,
        record.expires_at,
    )  # fmt: skip
