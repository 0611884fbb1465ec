"""From ``PAYLOADS_URL`` to a payload store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import redis

from shared.payloads.base import BadPayloadStore, PayloadStore
from shared.payloads.bucket import open_bucket
from shared.payloads.folder import FolderPayloads
from shared.payloads.names import TEMPORARY
from shared.store import keyspace

IN_REDIS: Final = "redis"
FOLDER: Final = "file"
BUCKETS: Final = ("s3", "gs", "az")
ASKED_SECONDS: Final = 2.0


def open_payloads(url: str) -> PayloadStore | None:
    """The store; None for ``redis:``, where everything lies in the records themselves. Raises ``BadPayloadStore``."""
    parts = urlsplit(url)
    if parts.scheme == IN_REDIS:
        return None
    if parts.scheme == FOLDER:
        return FolderPayloads(_folder(url))
    if parts.scheme not in BUCKETS:
        raise BadPayloadStore(f"{parts.scheme or 'no'} scheme: use file:///folder, s3://, gs://, az:// or redis:")
    if parts.username or parts.password or parts.query or not parts.netloc:
        raise BadPayloadStore(
            f"use {parts.scheme}://bucket/prefix and nothing else: credentials belong in the cloud's own variables"
        )
    return open_bucket(url)


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise BadPayloadStore("a folder is written file:///absolute/path")
    return path


def check_payloads(url: str, redis_url: str) -> None:
    """Raises ``BadPayloadStore`` where this process cannot use it: before the process is ready, and in one line."""
    store = open_payloads(url)
    if isinstance(store, FolderPayloads) and not store.is_there:
        known = _is_known(redis_url)
        if known is None:
            return  # Redis comes later: a worker makes the folder then, if it is a new one
        if known:
            raise BadPayloadStore(
                f"payloads were kept in a folder, and {url} has none: mount its disk, or, for a new and empty one, "
                f"make a folder {TEMPORARY.rstrip('/')} in it"
            )
        try:
            store.make()
        except OSError as error:
            raise store.refused(error) from error
    if store is not None:
        asyncio.run(store.check())


def _is_known(redis_url: str) -> bool | None:
    """Whether payloads were kept in a folder before; None where Redis does not say."""
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=ASKED_SECONDS, socket_connect_timeout=ASKED_SECONDS) as one:
            return bool(one.exists(keyspace.PAYLOAD_FOLDER()))
    except (redis.exceptions.RedisError, OSError):
        return None
