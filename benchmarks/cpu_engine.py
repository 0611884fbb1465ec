"""The CPU engine on this machine: ``python3 -m benchmarks.cpu_engine FILE.pdf [--threads-list 1,2] [--seconds 300]``.

side by side: pages/s with so many pages at once, a thread each, against one page after the other in one thread. In
              every turn each thread reads all the pages once, so that a turn takes as long with any number of threads;
              the turns of all numbers alternate, and every reading of a page must say the same.
alone:        a page on an idle engine, whose idle threads take some of its lines, against one thread, and against
              models that use as many threads themselves.
memory:       what this process holds after the first pages and after many.

Wants no network, no GPU and no other process. ``--seconds`` bounds the whole: it chooses how many pages are read.
One JSON object a line, then a table. Where a machine is shared, seconds of CPU a page say more than pages/s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from unittest.mock import patch

import onnxruntime
from PIL.Image import Image

from benchmarks.report import Comparison, say, table
from shared.contract.options import Options
from shared.upload_check import open_pdf
from worker.engines.base import PageImage, PageRead
from worker.engines.cpu import build_reader, recognition
from worker.engines.cpu.capacity import cores
from worker.engines.cpu.engine import CpuEngine
from worker.engines.cpu.reader import Reader
from worker.pdf_page import open_page, scale, survey
from worker.pictures import Size
from worker.settings import WorkerSettings

ROUNDS = 2
SHARE_BESIDE, SHARE_ALONE = 0.6, 0.1
"""Of the seconds; what is left is for memory."""

MIB = 2**20


def pictures(file: Path, most: int) -> list[Image]:
    """The document's first pages, as the worker gives them to the engine."""
    settings = WorkerSettings()
    size = Size(
        settings.render_dpi, settings.render_max_side, settings.render_max_pixels, settings.max_image_pixels
    )  # fmt: skip
    data = file.read_bytes()
    with open_pdf(data, None) as pdf:
        count = min(most, len(pdf))
    return [picture(data, number, size) for number in range(1, count + 1)]


def picture(data: bytes, number: int, size: Size) -> Image:
    with open_page(data, number, None) as opened:
        page = opened.page
        drawn: Image = page.render(scale=scale(survey(page), size), rev_byteorder=True).to_pil()
        return drawn.convert("RGB")


async def read(engine: CpuEngine, image: Image) -> str:
    """The page's Markdown."""
    pieces = [piece async for piece in engine.read(PageImage(1, image), Options())]
    assert isinstance(pieces[-1], PageRead)
    return pieces[-1].markdown


@dataclass
class Turn:
    """What one engine read in its turns, so far."""

    pages: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    texts: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, seconds: float, cpu: float, texts: dict[int, list[str]]) -> None:
        for number, found in texts.items():
            self.texts[number].update(found)
            self.pages += len(found)
        self.seconds += seconds
        self.cpu += cpu

    @property
    def numbers(self) -> dict[str, float]:
        return {
            "pages": self.pages,
            "pages_per_s": round(self.pages / self.seconds, 3),
            "cpu_s_a_page": round(self.cpu / self.pages, 3),
            "cores": round(self.cpu / self.seconds, 2),
        }


async def all_of(engine: CpuEngine, at_once: int, images: Sequence[Image], limit: float, turn: Turn) -> None:
    """Each thread reads all the pages once; none is begun after ``limit`` seconds."""
    todo = (number for number in range(len(images)) for _ in range(at_once))
    found: dict[int, list[str]] = defaultdict(list)
    began, cpu = time.perf_counter(), time.process_time()

    async def reader() -> None:
        for number in todo:
            found[number].append(await read(engine, images[number]))
            if time.perf_counter() - began > limit:
                return

    await asyncio.gather(*(reader() for _ in range(at_once)))
    turn.add(time.perf_counter() - began, time.process_time() - cpu, found)


# -- side by side


async def side_by_side(
    models: Reader, threads: Sequence[int], images: Sequence[Image], seconds: float
) -> dict[int, Turn]:
    """Of each number of threads, in turns that take ``seconds`` altogether."""
    limit = seconds / (ROUNDS * len(threads))
    engines = {count: CpuEngine(models, count) for count in threads}
    turns = {count: Turn() for count in threads}
    for turn_of_all in range(ROUNDS):
        for count in threads if turn_of_all % 2 else reversed(threads):
            await all_of(engines[count], count, images, limit, turns[count])
    for count, turn in turns.items():
        say(f"cpu: {count} at once", **turn.numbers)
    return turns


def differing(turns: Iterable[Turn]) -> list[int]:
    """The pages that were not read alike each time."""
    texts: dict[int, set[str]] = defaultdict(set)
    for turn in turns:
        for number, found in turn.texts.items():
            texts[number] |= found
    return sorted(number for number, found in texts.items() if len(found) > 1)


def compared(turns: dict[int, Turn]) -> list[Comparison]:
    found, one, goals = [], turns[1].numbers, {2: ">= 1.6", 16: ">= 10"}
    for count, turn in turns.items():
        if count > 1:
            goal = goals.get(count, "")
            found.append(_beside(f"pages/s, {count} at once", turn.numbers, one, "pages_per_s", goal))
            found.append(_beside(f"CPU s a page, {count} at once", turn.numbers, one, "cpu_s_a_page"))
    return found


def _beside(name: str, numbers: dict[str, float], one: dict[str, float], key: str, goal: str = "") -> Comparison:
    return Comparison(name, numbers[key], "one after the other, one thread", one[key], goal)


# -- a page alone


def models_with_threads(count: int) -> Reader:
    """Models that use threads themselves, as they come: the layout model, which takes a tenth of a page, in one."""
    parameters = {**recognition.parameters(), "EngineConfig.onnxruntime.intra_op_num_threads": count}
    with patch.object(recognition, "parameters", lambda: parameters):
        return build_reader()


async def alone(models: Reader, threads: int, images: Sequence[Image]) -> list[Comparison]:
    """Seconds of a page that has the engine for itself, in turns; the median of all pages."""
    engines = {
        "idle threads help": CpuEngine(models, threads),
        "one thread": CpuEngine(models, 1),
        "threads inside the models": CpuEngine(models_with_threads(threads), 1),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for engine in engines.values():
        await read(engine, images[0])
    texts: list[set[str]] = [set() for _ in images]
    for image, text in zip(images, texts, strict=True):
        for name, engine in engines.items():
            began = time.perf_counter()
            text.add(await read(engine, image))
            taken[name].append(time.perf_counter() - began)
    seconds = {name: round(median(found), 3) for name, found in taken.items()}
    different = [number for number, text in enumerate(texts) if len(text) > 1]
    say(f"cpu: alone on {threads} threads", pages=len(images), seconds=seconds, different=different)
    first, *others = seconds
    return [Comparison(f"s, a page alone, {first}", seconds[first], name, seconds[name], "<= 1") for name in others]


# -- memory


def resident() -> int:
    """Bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def memory(models: Reader, threads: int, images: Sequence[Image], pages: int, seconds: float) -> list[Comparison]:
    """The most that the process holds during the first quarter of the pages, and during the last."""
    engine, held, ends = CpuEngine(models, threads), [], time.perf_counter() + seconds
    todo = iter(range(pages))

    async def reader() -> None:
        for number in todo:
            await read(engine, images[number % len(images)])
            held.append(resident())
            if time.perf_counter() > ends:
                return

    await asyncio.gather(*(reader() for _ in range(threads)))
    quarter = max(1, len(held) // 4)
    first, last = max(held[:quarter]) / MIB, max(held[-quarter:]) / MIB
    say("cpu: memory", pages=len(held), threads=threads, first_quarter_mib=round(first), last_quarter_mib=round(last))
    return [
        Comparison(f"MiB, last quarter of {len(held)} pages", round(last), "first quarter", round(first), "<= 1.05")
    ]


# -- all


async def seconds_a_page(models: Reader, images: Sequence[Image]) -> float:
    """In one thread, after a first page that warms everything up."""
    engine = CpuEngine(models, 1)
    await read(engine, images[0])
    began = time.perf_counter()
    for image in images[:3]:
        await read(engine, image)
    return (time.perf_counter() - began) / len(images[:3])


async def measure(file: Path, threads: Sequence[int], pages: int, memory_pages: int, seconds: float) -> None:
    began, images, models = time.perf_counter(), pictures(file, pages), build_reader(max(threads))
    page = await seconds_a_page(models, images)
    say("cpu: machine", cores=cores(), processor=processor(), onnxruntime=onnxruntime.__version__,
        python=platform.python_version(), seconds_a_page=round(page, 2))  # fmt: skip
    beside = min(len(images), max(2, int(SHARE_BESIDE * seconds / (ROUNDS * len(threads) * page))))
    turns = await side_by_side(models, threads, images[:beside], SHARE_BESIDE * seconds)
    figures = compared(turns)
    different = differing(turns.values())
    say("cpu: text", pages=beside, read=sum(turn.pages for turn in turns.values()), different=different)
    figures += await alone(models, max(threads), images[: max(2, int(SHARE_ALONE * seconds / (3 * page)))])
    left = seconds - (time.perf_counter() - began)
    if memory_pages:
        figures += await memory(models, max(threads), images, memory_pages, left)
    print(table(figures))
    assert not different, f"pages {different} were not read alike"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads-list", default=f"1,{cores()}", help="pages at once; 1 is added")
    parser.add_argument("--pages", type=int, default=50, help="of the document, at most")
    parser.add_argument("--memory-pages", type=int, default=200, help="0: leave memory out")
    parser.add_argument("--seconds", type=float, default=300, help="roughly how long all of it may take")
    args = parser.parse_args()
    threads = sorted({1, *map(int, args.threads_list.split(","))})
    asyncio.run(measure(args.file, threads, args.pages, args.memory_pages, args.seconds))


if __name__ == "__main__":
    main()
