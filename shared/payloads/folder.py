"""Payloads as files of a folder that gateways and workers share."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from shared.errors import PayloadMissing, StoreFull, StoreUnavailable
from shared.payloads.base import CHUNK, BadPayloadStore, PayloadStore, StoredPayload, probe_name
from shared.payloads.names import NAME, TEMPORARY

T = TypeVar("T")

logger = logging.getLogger(__name__)

THREADS: Final = 8
TRIES: Final = 20  # of a rename whose folder another process removes meanwhile, because it was empty
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FULL_SECONDS: Final = 60.0  # Retry-After where nothing is known of what expires next


class FolderPayloads(PayloadStore):
    """Only its owner may enter the folder (0700). A file appears by a rename, after its bytes, and is flushed to disk.

    The folder ``tmp`` in it says that the folder is the store: without it a disk is not mounted, and nothing is
    written, or said to be missing. ``make`` makes both, once, and never where payloads were kept before
    (``shared.payloads.opening``).
    Not obstore's own store of local files: that one leaves the halves that a killed process wrote beside the files and
    hides them, so that nobody can sweep them up, and does not flush.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = folder / TEMPORARY
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="payloads")

    @property
    def is_there(self) -> bool:
        """Whether this is the folder of payloads, and not the place where its disk belongs."""
        return self._temporary.is_dir()

    def make(self) -> None:
        """A new folder of payloads. Raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._temporary.mkdir(mode=0o700, exist_ok=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def put(self, name: str, data: bytes | memoryview | BinaryIO) -> None:
        await self._run(lambda: self._put({name: data}))

    async def put_all(self, payloads: Mapping[str, bytes]) -> None:
        """One step of a thread, and one flush of each folder, for all of them."""
        await self._run(lambda: self._put(payloads))

    async def get(self, name: str) -> bytes:
        return await self._run(lambda: self._get(name))

    async def about(self, name: str) -> StoredPayload:
        return await self._run(lambda: self._about(name))

    async def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        file = await self._run(lambda: self._open(name, start))
        try:
            left = (os.fstat(file.fileno()).st_size if end is None else end) - start
            while left > 0 and (chunk := await self._run(partial(self._read, file, name, min(left, CHUNK)))):
                left -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def delete(self, names: Iterable[str]) -> None:
        doomed = list(names)
        await self._run(lambda: self._delete(doomed))

    async def under(self, prefix: str) -> AsyncIterator[StoredPayload]:
        for payload in await self._run(lambda: list(self._walk(prefix))):
            yield payload

    async def folders(self) -> list[str]:
        return await self._run(self._top)

    async def free(self) -> int | None:
        return await self._run(self._free)

    async def check(self) -> None:
        try:
            await self.put(name := probe_name(uuid.uuid4().hex), b"probe")
            await self.delete([name])
        except StoreFull:
            return  # passes by itself; until then submissions are refused
        except (OSError, StoreUnavailable) as error:
            raise self.refused(error.__cause__ or error) from error

    def refused(self, why: BaseException) -> BadPayloadStore:
        """That the folder cannot be used, in one line."""
        return BadPayloadStore(
            f"{self._folder} cannot be written to ({why}): give this process's user a folder of its own"
        )

    # -- in a thread

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self.is_there:
                raise StoreUnavailable("The payload folder is not there at the moment", retry_after=5) from error
            raise PayloadMissing(f"The payload {name} is not in the store") from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StoreFull("The payload store has no room", retry_after=FULL_SECONDS) from error
            logger.warning("the payload store refused %s: %s", name, error)
            raise StoreUnavailable("The payload store does not serve at the moment", retry_after=5) from error

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"not the name of a payload: {name!r}")
        return self._folder / name

    def _put(self, payloads: Mapping[str, bytes | memoryview | BinaryIO]) -> None:
        with self._errors(", ".join(payloads)):
            waiting: dict[Path, Path] = {}  # file in `tmp` -> its place
            try:
                for name, data in payloads.items():
                    temporary = self._temporary / uuid.uuid4().hex
                    waiting[temporary] = self._path(name)
                    _write(temporary, data)
                self._flush(self._rename(waiting))
            finally:
                for temporary in waiting:
                    temporary.unlink(missing_ok=True)

    def _rename(self, waiting: dict[Path, Path]) -> set[Path]:
        """Take each file to its place, and off ``waiting``; the folders in which there are new entries."""
        changed: set[Path] = set()
        for left in reversed(range(TRIES)):
            try:
                if not self.is_there:
                    raise FileNotFoundError(errno.ENOENT, "the payload folder is gone")
                for temporary, place in list(waiting.items()):
                    self._make_folders(place.parent, changed)
                    temporary.rename(place)
                    changed.add(place.parent)
                    del waiting[temporary]
                break
            except FileNotFoundError:
                if not left:
                    raise
        return changed

    def _make_folders(self, folder: Path, changed: set[Path]) -> None:
        """Make a folder and those above it, and add to ``changed`` where there are new entries."""
        if folder in changed or folder == self._folder:
            return
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            if folder.parent == self._folder:
                raise
            self._make_folders(folder.parent, changed)
            folder.mkdir(mode=0o700, exist_ok=True)
        changed.add(folder.parent)

    def _flush(self, folders: Iterable[Path]) -> None:
        """Write to disk what names files: a power failure must leave no hole where the record names one."""
        for folder in folders:
            try:
                _flush_folder(folder)
            except FileNotFoundError:
                if not self.is_there:
                    raise
                # Else whatever was in it has been deleted meanwhile, and the folder with it.

    def _get(self, name: str) -> bytes:
        with self._errors(name):
            return self._path(name).read_bytes()

    def _about(self, name: str) -> StoredPayload:
        with self._errors(name):
            facts = self._path(name).stat()
            return StoredPayload(name, facts.st_size, facts.st_mtime)

    def _open(self, name: str, start: int) -> BinaryIO:
        with self._errors(name):
            file = self._path(name).open("rb", buffering=0)
            file.seek(start)
            return file

    def _read(self, file: BinaryIO, name: str, count: int) -> bytes:
        with self._errors(name):
            return file.read(count)

    def _delete(self, names: list[str]) -> None:
        with self._errors("some payloads"):
            self._temporary.stat()
            for name in names:
                path = self._path(name)
                path.unlink(missing_ok=True)
                self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder not in (self._folder, self._temporary):
            try:
                folder.rmdir()
            except OSError:
                return  # not empty, or another process removed it
            folder = folder.parent

    def _walk(self, prefix: str) -> Iterator[StoredPayload]:
        with self._errors(prefix):
            try:
                yield from self._files(str(self._folder / prefix), prefix)
            except FileNotFoundError:
                if not self.is_there:
                    raise

    def _files(self, folder: str, prefix: str) -> Iterator[StoredPayload]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            with suppress(FileNotFoundError):  # deleted meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from self._files(entry.path, f"{prefix}{entry.name}/")
                else:
                    facts = entry.stat(follow_symlinks=False)
                    yield StoredPayload(f"{prefix}{entry.name}", facts.st_size, facts.st_mtime)

    def _top(self) -> list[str]:
        with self._errors("the folder"), os.scandir(self._folder) as entries:
            return sorted(f"{entry.name}/" for entry in entries if entry.is_dir(follow_symlinks=False))

    def _free(self) -> int:
        with self._errors("the folder"):
            there = next(folder for folder in [self._folder, *self._folder.parents] if folder.is_dir())
            facts = os.statvfs(there)
            return facts.f_bavail * facts.f_frsize


def _write(path: Path, data: bytes | memoryview | BinaryIO) -> None:
    """A new file, with its bytes on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if isinstance(data, bytes | memoryview):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        else:
            with open(descriptor, "wb", closefd=False) as file:
                shutil.copyfileobj(data, file, CHUNK)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
