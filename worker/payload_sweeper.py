"""Deletes what has to go: what the scripts wrote down as due, and payloads that no record names.

One worker at a time does it. What is due is taken off the list when it is done, so a crash in between repeats it, and
deleting twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.errors import StoreUnavailable
from shared.payloads.base import PayloadStore, StoredPayload
from shared.payloads.folder import FolderPayloads
from shared.payloads.names import PICTURE, TEMPORARY, PagePayloads, job_folder, job_of, upload_name
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.results import side_by_side
from shared.store.scripts import Scripts

logger = logging.getLogger(__name__)

SWEEPER_SECONDS: Final = 30  # after which another worker sweeps where this one has died
STEP_SECONDS: Final = 60.0
DUE_AT_ONCE: Final = 500
JOBS_AT_ONCE: Final = 500
EVENTS, UPLOAD, PICTURES, PAYLOADS, SHARED = "events", "upload", "pictures", "payloads", "shared"


class PayloadSweeper:
    """``orphan_age``: seconds after which a payload that no record names is deleted; before, one may be on its way."""

    def __init__(self, redis: Client, payloads: PayloadStore | None, worker: str, orphan_age: float) -> None:
        self._redis, self._payloads, self._worker, self._orphan_age = redis, payloads, worker, orphan_age
        self._scripts = Scripts(redis)
        self._folders: list[str] = []  # those of the present round that are still to be looked at
        self._eldest = 0.0  # what was written before, by the payload store's clock, is old in this round
        self._next_round = time.monotonic()
        self._failing = False

    async def step(self) -> None:
        """Do what is due, and look at one folder. A store that does not serve is tried again at the next step."""
        try:
            async with asyncio.timeout(STEP_SECONDS):
                if await self._is_mine():
                    await self._note_folder()
                    await self.clean_up()
                    await self._look_at_next_folder()
        except (StoreUnavailable, TimeoutError) as error:
            if not self._failing:
                logger.warning("payloads cannot be deleted at the moment: %s", error)
            self._failing = True
        else:
            self._failing = False

    async def _is_mine(self) -> bool:
        with store_errors():
            if not await self._redis.set(keyspace.SWEEPER(), self._worker, nx=True, ex=SWEEPER_SECONDS):
                if await self._redis.get(keyspace.SWEEPER()) != self._worker.encode():
                    return False
                await self._redis.expire(keyspace.SWEEPER(), SWEEPER_SECONDS)
        return True

    async def _note_folder(self) -> None:
        """That there is a folder of payloads. A new one is made here only where Redis came after every process."""
        if not isinstance(self._payloads, FolderPayloads):
            return
        with store_errors():
            if self._payloads.is_there:
                await self._redis.set(keyspace.PAYLOAD_FOLDER(), 1, nx=True)
            elif not await self._redis.exists(keyspace.PAYLOAD_FOLDER()):
                with suppress(OSError):  # whoever writes there is told
                    await asyncio.to_thread(self._payloads.make)

    # -- what is due

    async def clean_up(self) -> int:
        """Do everything that is due; how much it was."""
        done = 0
        while due := await self._due():
            entries = defaultdict[str, list[str]](list)
            for entry in due:
                what, _, job_id = entry.partition(" ")
                entries[what].append(job_id)
            await self._delete_events(entries[EVENTS])
            if self._payloads is not None:
                await self._payloads.delete(map(upload_name, entries[UPLOAD]))
                await side_by_side(self._delete_pictures, entries[PICTURES])
                await side_by_side(self._drop_payloads, [*entries[PAYLOADS], *entries[SHARED]])
            with store_errors():
                await self._redis.zrem(keyspace.CLEANUPS(), *due)
            done += len(due)
        return done

    async def _due(self) -> list[str]:
        with store_errors():
            seconds, micro = await self._redis.time()
            found = await self._redis.zrangebyscore(
                keyspace.CLEANUPS(), "-inf", seconds + micro / 1e6, start=0, num=DUE_AT_ONCE
            )
        return [entry.decode() for entry in found]

    async def _delete_events(self, job_ids: list[str]) -> None:
        """The record of a finished job keeps what its last event said, for those who follow it late."""
        if job_ids:
            with store_errors():
                await self._redis.delete(*map(keyspace.EVENTS, job_ids))

    async def _drop_payloads(self, entry: str) -> None:
        """``entry``: the job whose result goes, and the one whose payloads it is made of, if that is another."""
        assert self._payloads is not None  # noqa: S101  # `clean_up` has looked
        job_id, _, source = entry.partition(":")
        if await self._scripts.run("drop_payloads", job_id, source or job_id):
            await self._payloads.delete_all(job_folder(source or job_id))

    async def _delete_pictures(self, job_id: str) -> None:
        """First the record names them no longer, so that they are not missing but gone."""
        assert self._payloads is not None  # noqa: S101  # `clean_up` has looked
        source = (await self._scripts.run("forget_pictures", job_id)).decode()
        if source:
            names = [payload.name async for payload in self._payloads.under(job_folder(source))]
            await self._payloads.delete(name for name in names if name.endswith(f"/{PICTURE}"))

    # -- orphans

    async def _look_at_next_folder(self) -> None:
        if self._payloads is None:
            return
        if not self._folders and time.monotonic() >= self._next_round:
            self._folders = (await self._payloads.folders())[::-1]
            self._eldest = await self._payloads.now() - self._orphan_age
            self._next_round = time.monotonic() + self._orphan_age / 2
        if self._folders:
            folder = self._folders.pop()
            if orphans := await self.sweep(self._payloads, folder, self._eldest):
                logger.info("deleted %s payloads of %s that no record names", orphans, folder)

    async def sweep(self, payloads: PayloadStore, folder: str, eldest: float) -> int:
        """Delete the orphans of one topmost folder that were written before ``eldest``; how many."""
        old = [payload async for payload in payloads.under(folder) if payload.modified_at < eldest]
        if folder == TEMPORARY:
            orphans = [payload.name for payload in old]
        else:
            orphans = [name async for name in self._orphans_among(old)]
        await payloads.delete(orphans)
        return len(orphans)

    async def _orphans_among(self, old: Iterable[StoredPayload]) -> AsyncIterator[str]:
        of_jobs = defaultdict[str, list[str]](list)
        for payload in old:
            of_jobs[job_of(payload.name)].append(payload.name)
        ids = list(of_jobs)
        for at in range(0, len(ids), JOBS_AT_ONCE):
            some = ids[at : at + JOBS_AT_ONCE]
            for job_id, named in zip(some, await self._named(some), strict=True):
                for name in of_jobs[job_id]:
                    if not named.has(job_id, name):
                        yield name

    async def _named(self, job_ids: Iterable[str]) -> list[NamedPayloads]:
        """By the record of each job, or of those that were made of its result."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.exists(keyspace.UPLOAD(job_id))
                    pipe.hgetall(keyspace.PAGE_PAYLOADS(job_id))
                    pipe.smembers(keyspace.HOLDERS(job_id))
                found = await pipe.execute()
        named = zip(found[::3], found[1::3], found[2::3], strict=True)
        return [
            NamedPayloads(bool(upload), [stored, *await self._stored_of(holders)]) for upload, stored, holders in named
        ]

    async def _stored_of(self, job_ids: Iterable[bytes]) -> list[Mapping[bytes, bytes]]:
        with store_errors():
            return [await self._redis.hgetall(keyspace.PAGE_PAYLOADS(job_id.decode())) for job_id in job_ids]


@dataclass(frozen=True, slots=True)
class NamedPayloads:
    """What of one job's payloads is named. ``pages``: as in Redis, page -> ``PagePayloads`` as text, by each record."""

    upload: bool
    pages: Sequence[Mapping[bytes, bytes]]

    def has(self, job_id: str, name: str) -> bool:
        """Whether this payload of the job is one of them."""
        if name == upload_name(job_id):
            return self.upload
        token, _, rest = name.removeprefix(job_folder(job_id)).partition("/")
        page, _, part = rest.partition("/")
        named = (PagePayloads.of(text.decode()) for its in self.pages if (text := its.get(page.encode())) is not None)
        return any(its.token == token and (its.picture or part != PICTURE) for its in named)
