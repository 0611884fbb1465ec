"""Payloads as objects of a bucket: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

Credentials, endpoints and regions come from each cloud's own environment variables (``AWS_ACCESS_KEY_ID``,
``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME``, ...), which obstore reads.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError, UnknownConfigurationKeyError
from obstore.store import from_url

from shared.errors import PayloadMissing, StoreFull, StoreUnavailable
from shared.payloads.base import CHUNK, BadPayloadStore, PayloadStore, StoredPayload, probe_name

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

logger = logging.getLogger(__name__)

DELETED_AT_ONCE: Final = 1000
PARTS_AT_ONCE: Final = 3  # of a large upload, 5 MiB each in memory
NO_ROOM: Final = re.compile(r"\b507\b|InsufficientStorage|QuotaExceeded|XMinioStorageFull|No space left", re.IGNORECASE)
NO_BUCKET: Final = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
FULL_SECONDS: Final = 60.0


class BucketPayloads(PayloadStore):
    """An object appears whole, once its upload has ended; large ones are sent in parts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = from_url(
            url,
            client_options={"timeout": "30s", "connect_timeout": "3s", "allow_http": _without_tls()},
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=4)},
        )

    async def put(self, name: str, data: bytes | memoryview | BinaryIO) -> None:
        with _errors(name):
            await obstore.put_async(self._store, name, data, max_concurrency=PARTS_AT_ONCE)

    async def get(self, name: str) -> bytes:
        with _errors(name):
            return bytes(await (await obstore.get_async(self._store, name)).bytes_async())

    async def about(self, name: str) -> StoredPayload:
        with _errors(name):
            return _stored(await obstore.head_async(self._store, name))

    async def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        with _errors(name):
            wanted: GetOptions = {"range": {"offset": start} if end is None else (start, end)}
            found = await obstore.get_async(self._store, name, options=wanted)
            async for chunk in found.stream(CHUNK):
                yield bytes(chunk)

    async def delete(self, names: Iterable[str]) -> None:
        doomed = list(names)
        for at in range(0, len(doomed), DELETED_AT_ONCE):
            try:
                with _errors("some payloads"):
                    await obstore.delete_async(self._store, doomed[at : at + DELETED_AT_ONCE])
            except PayloadMissing:
                await self._delete_each(doomed[at : at + DELETED_AT_ONCE])

    async def _delete_each(self, names: list[str]) -> None:
        """Where a store minds what is not there, and gave up at the first such name."""
        for name in names:
            with suppress(PayloadMissing), _errors(name):
                await obstore.delete_async(self._store, name)

    async def under(self, prefix: str) -> AsyncIterator[StoredPayload]:
        with _errors(prefix):
            async for some in obstore.list(self._store, prefix or None):
                for meta in some:
                    yield _stored(meta)

    async def folders(self) -> list[str]:
        with _errors("the bucket"):
            listing = await obstore.list_with_delimiter_async(self._store)
        return sorted(f"{name}/" for name in listing["common_prefixes"])

    async def check(self) -> None:
        name = probe_name(uuid.uuid4().hex)
        try:
            await obstore.put_async(self._store, name, b"probe")
            await obstore.delete_async(self._store, name)
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BadPayloadStore(
                f"{self._url} refuses this process ({_first_line(error)}): give its key the right to read, write, "
                "list and delete"
            ) from error
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) or NO_BUCKET.search(str(error)):
                raise BadPayloadStore(f"the bucket of {self._url} is missing: make it first") from error
            logger.warning("the payload store does not answer yet: %s", _first_line(error))


def open_bucket(url: str) -> BucketPayloads:
    """Nothing is sent yet. Raises ``BadPayloadStore`` for a URL or an environment that cannot be read."""
    try:
        return BucketPayloads(url)
    except (UnknownConfigurationKeyError, BaseError, ValueError) as error:
        raise BadPayloadStore(f"{url} cannot be used: {_first_line(error)}") from error


def _stored(meta: ObjectMeta) -> StoredPayload:
    return StoredPayload(meta["path"], meta["size"], meta["last_modified"].timestamp())


def _without_tls() -> bool:
    """Whether the operator has named an endpoint without TLS; the library has it said a second time."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _first_line(error: Exception) -> str:
    """Of what the library says, without the request it quotes."""
    return " ".join(str(error).split("\n\n")[0].split())[:200]


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if NO_BUCKET.search(str(error)):
            raise StoreUnavailable("The payload store's bucket is missing", retry_after=30) from error
        raise PayloadMissing(f"The payload {name} is not in the store") from error
    except (BaseError, OSError) as error:
        if NO_ROOM.search(str(error)):
            raise StoreFull("The payload store has no room", retry_after=FULL_SECONDS) from error
        logger.warning("the payload store refused %s: %s", name, _first_line(error))
        raise StoreUnavailable("The payload store does not serve at the moment", retry_after=5) from error
