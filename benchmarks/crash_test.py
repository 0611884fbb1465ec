"""``python -m benchmarks.crash_test FOLDER``: every file of a collection through check, renderer and engine.

Says what became of each and fails (exit code 1) on a hang, an internal error, or a loss that no status admits:
a page that is not blank and gave no text, or one without most words that its own text layer holds, though it is ``ok``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gateway.inspector import Inspector
from gateway.settings import GatewaySettings
from shared.contract.document import PageStatus
from shared.contract.options import Options
from shared.errors import FileValidationError, InferenceError, PreprocessingError
from shared.upload_check import Asked
from worker.engines import load_engine, parts
from worker.engines.base import Engine, PageImage, PageRead
from worker.engines.blank import is_blank
from worker.render import Renderer, Upload
from worker.settings import WorkerSettings

HANG = 900.0
"""Seconds for one step of one page: all of ours end long before, also on a machine with much else to do."""

FEWEST_WORDS, LEAST_RECALL = 20, 0.6
"""A page whose own text holds so many words must give this share of them, or say that it does not."""


@dataclass(slots=True)
class CrashOutcome:
    """What became of one file. ``pages``: a status for each page; ``faults``: what must not be."""

    file: str
    verdict: str = ""
    pages: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


class CrashRun:
    def __init__(self, pages: int, renderer: Renderer, engine: Engine | None) -> None:
        self._pages, self._renderer, self._engine = pages, renderer, engine
        self._inspector = Inspector(GatewaySettings(_env_file=None, inspect_processes=1))

    async def close(self) -> None:
        await self._inspector.close()
        await self._renderer.close()
        if self._engine is not None:
            await self._engine.close()

    async def file(self, path: Path) -> CrashOutcome:
        outcome, began = CrashOutcome(str(path)), time.monotonic()
        try:
            await self._file(path, outcome)
        except FileValidationError as error:
            outcome.verdict = error.code
        except TimeoutError:
            outcome.faults.append("hang")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for here
            outcome.faults.append(f"internal: {error!r}")
        outcome.seconds = round(time.monotonic() - began, 1)
        return outcome

    async def _file(self, path: Path, outcome: CrashOutcome) -> None:
        data = await asyncio.to_thread(path.read_bytes)
        async with asyncio.timeout(HANG):
            info = await self._inspector.inspect(data, Asked(path.name, pages=None))
        outcome.verdict = "taken"
        upload = await self._renderer.open(data, info.media_type)
        try:
            for number in info.numbers[: self._pages]:
                async with asyncio.timeout(HANG):
                    image = await self._render(upload, number, outcome)
                if image is not None and self._engine is not None:
                    async with asyncio.timeout(HANG * parts.count(*image.image.size)):
                        await self._read(image, outcome)
        finally:
            upload.close()

    async def _render(self, upload: Upload, number: int, outcome: CrashOutcome) -> PageImage | None:
        try:
            image = await self._renderer.page(upload, number, text_layer=True)
        except PreprocessingError as error:
            outcome.pages.append(error.code)
            return None
        if self._engine is None:
            outcome.pages.append("degraded" if image.shortfall else "drawn")
        return image

    async def _read(self, image: PageImage, outcome: CrashOutcome) -> None:
        assert self._engine is not None
        own = " ".join(piece.text for piece in image.text_layer or ())
        picture = PageImage(image.number, image.image, shortfall=image.shortfall)
        try:
            read = (await whole(self._engine, picture)).admitting(image.shortfall)
        except InferenceError as error:
            outcome.pages.append(error.code)
            return
        outcome.pages.append(read.status.value + (f" ({read.reason})" if read.reason else ""))
        outcome.faults += [f"page {image.number}: {loss}" for loss in losses(read, image, own)]


async def whole(engine: Engine, image: PageImage) -> PageRead:
    async with aclosing(parts.read(engine, image, Options())) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            if isinstance(piece, PageRead):
                return piece
    raise AssertionError("the engine ended without a page")


def losses(read: PageRead, image: PageImage, own: str) -> Iterator[str]:
    """What was lost of a page that says it is whole."""
    if read.status not in (PageStatus.OK, PageStatus.SKIPPED):
        return
    if not read.markdown.strip() and not is_blank(image.image):
        yield f"not blank, and no text ({read.status})"
    expected, found = words(own), words(read.markdown)
    if expected.total() >= FEWEST_WORDS:
        recall = (expected & found).total() / expected.total()
        if recall < LEAST_RECALL:
            yield f"only {recall:.0%} of {expected.total()} words ({read.status})"


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]{2,}", unicodedata.normalize("NFKC", text).lower()))


def files(folders: list[Path]) -> list[Path]:
    found = [path for folder in folders for path in ([folder] if folder.is_file() else sorted(folder.rglob("*")))]
    return [path for path in found if path.is_file()]


async def main(options: argparse.Namespace) -> int:
    settings = WorkerSettings(
        _env_file=None, render_processes=1, engine="auto" if drawn_only(options) else options.engine
    )
    engine = None if drawn_only(options) else await load_engine(settings)
    run, outcomes = CrashRun(options.pages, Renderer(settings), engine), []
    chosen = files(options.folder)
    for number, path in enumerate(chosen, 1):
        if path.suffix.lower() not in options.suffixes:
            continue
        outcome = await run.file(path)
        outcomes.append(outcome)
        if outcome.faults or options.verbose:
            print(f"{number}/{len(chosen)} {json.dumps(asdict(outcome))}", flush=True)
    await run.close()
    return report(outcomes)


def drawn_only(options: argparse.Namespace) -> bool:
    return bool(options.engine == "none")


def report(outcomes: list[CrashOutcome]) -> int:
    faults = Counter(fault.split(":")[0].split(" ")[0] for outcome in outcomes for fault in outcome.faults)
    print(f"{len(outcomes)} files: {dict(Counter(outcome.verdict or 'none' for outcome in outcomes))}")
    print(f"pages: {dict(Counter(page for outcome in outcomes for page in outcome.pages))}")
    longest = max((outcome.seconds for outcome in outcomes), default=0.0)
    print(f"hangs {faults['hang']}, internal errors {faults['internal']}, losses not admitted {faults['page']}")
    print(f"longest file {longest} s, all {sum(outcome.seconds for outcome in outcomes):.0f} s")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--pages", type=int, default=2, help="pages of each file (default 2)")
    parser.add_argument("--engine", default="cpu", help="engine that reads them; none: only check and draw")
    parser.add_argument("--suffixes", type=lambda text: set(text.split(",")), default={".pdf"}, help=".pdf,.png,...")
    parser.add_argument("--verbose", action="store_true", help="a line for every file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
