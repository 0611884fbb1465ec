"""Looks at a folder again and again for files that are to be read."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePath

from ocr_client.cli.exit_codes import UNREACHABLE
from ocr_client.cli.interrupts import run_interruptibly
from ocr_client.cli.options import ServiceAddress
from ocr_client.cli.reports import QuietReport
from ocr_client.cli.run import ReadRun, RunSettings
from ocr_client.cli.sources import FolderRules, SourceFile, walk
from ocr_client.cli.targets import Targets

Stamp = tuple[int, int]
"""Bytes of a file and when it was changed, in nanoseconds: another stamp is another content."""


class FolderWatch:
    """``ready`` gives each file once for each content."""

    def __init__(self, folder: Path, rules: FolderRules, targets: Targets) -> None:
        self._folder, self._rules, self._targets = folder, rules, targets
        self._before: dict[PurePath, Stamp] = {}
        self._given: dict[PurePath, Stamp] = {}
        self._owners: dict[Path, PurePath] = {}

    def ready(self) -> tuple[list[SourceFile], list[str]]:
        """The files that are complete (like they were at the last look) and not read yet; and what is wrong."""
        now = dict(self._stamps())
        still = [inside for inside, stamp in now.items() if self._before.get(inside) == stamp]
        new = [inside for inside in still if self._given.get(inside) != now[inside]]
        self._before = now
        self._given |= {inside: now[inside] for inside in new}
        sources = [SourceFile(str(inside), inside, self._folder / inside) for inside in new]
        wanted = [source for source in sources if not self._targets.has_all(source)]
        clashes = {source: clash for source in wanted if (clash := self._clash(source))}
        return [source for source in wanted if source not in clashes], list(clashes.values())

    def _stamps(self) -> list[tuple[PurePath, Stamp]]:
        found: list[tuple[PurePath, Stamp]] = []
        for inside in walk(self._folder, self._rules):
            try:
                stat = (self._folder / inside).stat()
            except FileNotFoundError:  # it went away since the folder was listed
                continue
            found.append((inside, (stat.st_size, stat.st_mtime_ns)))
        return found

    def _clash(self, source: SourceFile) -> str | None:
        for path in self._targets.paths(source).values():
            if (owner := self._owners.setdefault(path, source.place)) != source.place:
                return f"{source.label}: {path} holds the result of {owner}; see --full-names"
        return None


async def watch_folder(
    connection: ServiceAddress, settings: RunSettings, watched: FolderWatch, every: float, report: QuietReport
) -> int:
    """Read what comes until an interrupt, or until the service is away for too long; the exit code."""
    async with connection.async_client() as client:
        run = ReadRun(client, settings, report)
        with report:
            return await run_interruptibly(run, _watched(run, watched, every, report), report)


async def _watched(run: ReadRun, watched: FolderWatch, every: float, report: QuietReport) -> int:
    while run.gone is None:
        sources, wrong = watched.ready()
        for line in wrong:
            report.error(line)
        if sources:
            await run.all(sources)
        await asyncio.sleep(every)
    return UNREACHABLE
