"""What every payload store does."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from shared.payloads.names import TEMPORARY

CHUNK: Final = 256 * 1024  # bytes that a stream yields at once
AT_ONCE: Final = 16  # payloads that are stored side by side


class BadPayloadStore(ValueError):
    """``PAYLOADS_URL`` cannot be used; the message says in one line what to do."""


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """``size``: bytes. ``modified_at``: seconds since the epoch, by the store's own clock."""

    name: str
    size: int
    modified_at: float


class PayloadStore(ABC):
    """Payloads by name. A name is written whole or not at all; writing it again with the same bytes does no harm.

    Every method raises ``StoreUnavailable`` when the store does not serve, and ``StoreFull`` when it has no room.
    """

    @abstractmethod
    async def put(self, name: str, data: bytes | memoryview | BinaryIO) -> None:
        """Store ``data``; a file is read from where it stands, in pieces. Once it returns, the payload is durable."""

    async def put_all(self, payloads: Mapping[str, bytes]) -> None:
        """As ``put``, several together, those of a page for instance. After an error some of them may be stored."""
        names = list(payloads)
        for at in range(0, len(names), AT_ONCE):
            some = (self.put(name, payloads[name]) for name in names[at : at + AT_ONCE])
            for failed in await asyncio.gather(*some, return_exceptions=True):
                if failed is not None:
                    raise failed

    @abstractmethod
    async def get(self, name: str) -> bytes:
        """Raises ``PayloadMissing``."""

    @abstractmethod
    async def about(self, name: str) -> StoredPayload:
        """Raises ``PayloadMissing``."""

    @abstractmethod
    def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to, not including, ``end``. Raises ``PayloadMissing``."""

    @abstractmethod
    async def delete(self, names: Iterable[str]) -> None:
        """Nothing happens for a name that is not there."""

    @abstractmethod
    def under(self, prefix: str) -> AsyncIterator[StoredPayload]:
        """What lies under a folder's name, which ends with a slash; "" is everything. In the order of the names."""

    @abstractmethod
    async def folders(self) -> list[str]:
        """The names of the topmost folders, each with its slash, in their order."""

    async def free(self) -> int | None:
        """Bytes that can still be stored; None where nobody can say."""
        return None

    @abstractmethod
    async def check(self) -> None:
        """Raises ``BadPayloadStore`` where it cannot be written to for a reason that does not pass by itself."""

    async def now(self) -> float:
        """Seconds since the epoch by the store's own clock: that of a process may be wrong."""
        name = probe_name(uuid.uuid4().hex)
        await self.put(name, b"what time is it?")
        written = await self.about(name)
        await self.delete([name])
        return written.modified_at

    async def delete_all(self, prefix: str) -> int:
        """Delete what lies under ``prefix``; how many payloads."""
        names = [payload.name async for payload in self.under(prefix)]
        await self.delete(names)
        return len(names)


def probe_name(unique: str) -> str:
    """Of the payload that ``check`` writes and deletes."""
    return f"{TEMPORARY}probe-{unique}"
