"""Files that were uploaded before they are read, as Mistral's API has them. They are kept for ``FILE_TTL`` seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from ulid import ULID

from shared.errors import NotFound
from shared.store import keyspace
from shared.store.connect import Client, store_errors

FACTS: Final = ("owner", "filename", "bytes", "created")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """``size`` in bytes; ``created_at`` in seconds since the epoch. ``data``: empty where only the facts were asked."""

    id: str
    owner: str
    filename: str
    size: int
    created_at: int
    data: bytes = field(default=b"", repr=False)


class Files:
    """Nobody sees another owner's. ``seconds``: how long a file is kept."""

    def __init__(self, redis: Client, seconds: int) -> None:
        self._redis, self._seconds = redis, seconds

    async def add(self, owner: str, filename: str, data: bytes) -> StoredFile:
        file = StoredFile(str(ULID()), owner, filename, len(data), int(time.time()))
        facts = {"owner": owner, "filename": filename, "bytes": file.size, "created": file.created_at, "data": data}
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keyspace.FILE(file.id), mapping=facts)
                pipe.expire(keyspace.FILE(file.id), self._seconds)
                await pipe.execute()
        return file

    async def find(self, file_id: str, owner: str, *, data: bool = False) -> StoredFile:
        """The file, with its bytes if ``data``. Raises ``NotFound``."""
        with store_errors():
            found = await self._redis.hmget(keyspace.FILE(file_id), *FACTS, *(["data"] if data else []))
        if found[0] is None or found[0].decode() != owner or None in found:
            raise NotFound("There is no such file")
        filename, size, created = (value.decode() for value in found[1:4])
        return StoredFile(file_id, owner, filename, int(size), int(created), *found[4:])

    async def delete(self, file_id: str, owner: str) -> None:
        """Raises ``NotFound``."""
        await self.find(file_id, owner)
        with store_errors():
            await self._redis.delete(keyspace.FILE(file_id))
