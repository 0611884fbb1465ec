"""One run of ``ocr read``: its sources made ready, its options checked, and the run itself."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from ocr_client.choices import JOINABLE_FORMATS
from ocr_client.cli.interrupts import run_interruptibly
from ocr_client.cli.options import ServiceAddress
from ocr_client.cli.reports import QuietReport
from ocr_client.cli.run import ReadRun, RunSettings
from ocr_client.cli.sources import BadSource, SourceFile


def misfit(sources: Sequence[SourceFile], settings: RunSettings) -> str | None:
    """Why these options cannot be used together, or for these sources."""
    targets = settings.targets
    if settings.follow:
        fits = len(sources) <= 1 and targets.on_stdout and set(targets.formats) <= JOINABLE_FORMATS
        return None if fits and not settings.json_lines else "--follow is for one file, as md or txt, on stdout"
    if settings.detach:
        return None
    return targets.conflict(sources[:1] if settings.json_lines and targets.on_stdout else sources)


def stored_stdin(source: SourceFile | BadSource, name: str, folder: Path) -> SourceFile | BadSource:
    """The same; of stdin the file in this folder that holds what came."""
    if isinstance(source, BadSource) or source.path is not None or source.url is not None:
        return source
    path = folder / "stdin"
    with path.open("wb") as content:
        shutil.copyfileobj(sys.stdin.buffer, content)
    return SourceFile(name, PurePath(PurePath(name).name), path)


async def run_sources(
    connection: ServiceAddress, settings: RunSettings, sources: Sequence[SourceFile | BadSource], report: QuietReport
) -> int:
    """Read them; the exit code."""
    async with connection.async_client() as client:
        run = ReadRun(client, settings, report)
        with report:
            return await run_interruptibly(run, run.all(sources), report)
