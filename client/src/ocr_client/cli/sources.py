"""From the arguments of a command to the files it reads: folders, globs, URLs and stdin."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from ocr_client.choices import SUFFIXES

STDIN = "-"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """``label``: what messages call it. ``place``: its name, under the folders of the one that was walked."""

    label: str
    place: PurePath
    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class BadSource:
    """An argument that names nothing that can be read."""

    argument: str
    why: str

    def __str__(self) -> str:
        return f"{self.argument}: {self.why}"


@dataclass(frozen=True, slots=True)
class FolderRules:
    """Which files of a folder are read. ``include`` and ``exclude``: patterns of names, or of paths inside it."""

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, inside: PurePath) -> bool:
        if any(part.startswith(".") for part in inside.parts):
            return False
        if any(_alike(inside, pattern) for pattern in self.exclude):
            return False
        if self.include:
            return any(_alike(inside, pattern) for pattern in self.include)
        return inside.suffix.lower().removeprefix(".") in SUFFIXES


def _alike(inside: PurePath, pattern: str) -> bool:
    return fnmatch(inside.name, pattern) or fnmatch(str(inside), pattern)


def collect(arguments: Iterable[str], rules: FolderRules) -> list[SourceFile | BadSource]:
    """Every file once, in the order of the arguments; a folder's by name. ``-`` gives a file without a path."""
    found: dict[object, SourceFile | BadSource] = {}
    for argument in arguments:
        for source in _sources(argument, rules):
            same = source.path.resolve() if isinstance(source, SourceFile) and source.path else source
            found.setdefault(same, source)
    return list(found.values())


def _sources(argument: str, rules: FolderRules) -> Iterator[SourceFile | BadSource]:
    if argument == STDIN:
        yield SourceFile("stdin", PurePath("stdin"))
    elif argument.startswith(("https://", "http://")):
        name = PurePath(urlsplit(argument).path).name or urlsplit(argument).hostname or "document"
        yield SourceFile(name, PurePath(name), url=argument)
    elif (path := Path(argument)).is_dir():
        yield from _of_folder(path, rules)
    elif path.exists() or not glob.has_magic(argument):
        yield _one(path, argument)
    elif names := sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207  # as typed, with ** and absolute
        for name in names:
            if Path(name).is_file():
                yield _one(Path(name), name)
    else:
        yield BadSource(argument, "no file is named like this")


def _one(path: Path, argument: str) -> SourceFile | BadSource:
    try:
        with path.open("rb"):
            return SourceFile(path.name, PurePath(path.name), path)
    except OSError as error:
        return BadSource(argument, error.strerror or str(error))


def _of_folder(folder: Path, rules: FolderRules) -> Iterator[SourceFile | BadSource]:
    if not rules.recursive:
        yield BadSource(str(folder), "is a folder; add -r to read the files in it")
        return
    for inside in walk(folder, rules):
        yield SourceFile(str(inside), inside, folder / inside)


def walk(folder: Path, rules: FolderRules) -> Iterator[PurePath]:
    """The files under the folder that the rules take, by name, as paths inside it."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            inside = PurePath(top).relative_to(folder) / name
            if rules.takes(inside):
                yield inside
