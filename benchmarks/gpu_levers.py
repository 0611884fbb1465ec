"""What each lever of the DeepSeek-OCR engine is worth, in steady state, in one run on one GPU.

    python3 -m benchmarks.gpu_levers MODEL [--seqs 512] [--seconds 12] [--only NAME,…] [--deadline 400] [--tiny]

Levers are taken out one at a time from the engine as it is, inside vLLM's own process, so no restart lies between two
windows. Steady state at once: the first pages are drawn as a running engine holds them (a page is in flight in
proportion to its length, at a uniform age that is made up by extra prompt tokens). One JSON object a line.
``VLLM_USE_V2_MODEL_RUNNER=0`` and ``OMP_NUM_THREADS=16`` in the environment are levers of a start of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import time
from collections import Counter
from contextvars import ContextVar
from typing import Any

import torch

from benchmarks.gpu_engine import (
    DISTINCT_PAGES,
    Read,
    alone,
    crowd,
    draw_page,
    engine_settings,
    lengths,
    load,
    memory,
    reader,
    say,
)
from worker.engines.vllm_host import config, launch, model_runner

AGE: ContextVar[int] = ContextVar("AGE", default=0)
"""Tokens that the page which this task reads is to have behind it already."""

LONGEST = 4000
WINDOWS: dict[str, tuple[int, dict[str, Any]]] = {
    "all": (1, {}),
    "all at half": (2, {}),
    "tokens one at a time": (1, {"merge": False}),
    "pages as they come": (1, {"groups": False}),
    "the model's own towers": (1, {"towers": False}),
    "neither groups nor towers, at half": (2, {"groups": False, "towers": False, "graphs": False}),
}
"""Name: by what the slots are divided, and the levers that are taken out."""


# -- inside vLLM's process: found there by these names


def scheduler_class(name: str) -> type:
    from worker.engines.vllm_host import scheduler

    class TimedScheduler(getattr(scheduler, name)):
        def schedule(self, *args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            found = super().schedule(*args, **more)
            CLOCK["schedule"] += time.perf_counter() - began
            CLOCK["steps"] += 1
            CLOCK["running"] += len(self.running)
            CLOCK["waiting"] += len(self.waiting)
            CLOCK["pages_begun"] += (new := len(found.scheduled_new_reqs))
            CLOCK[f"groups_of_{min(new, 9)}"] += bool(new)
            CLOCK["preempted"] += len(found.preempted_req_ids or ())
            return found

        def update_from_output(self, *args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            found = super().update_from_output(*args, **more)
            CLOCK["update"] += time.perf_counter() - began
            return found

    return TimedScheduler


CLOCK: Counter[str] = Counter()


def __getattr__(name: str) -> Any:
    """Made when vLLM asks for them: this module is imported before vLLM's environment is set."""
    if name not in ("TimedPageScheduler", "TimedAsyncPageScheduler", "TimedExtension"):
        raise AttributeError(name)
    globals()[name] = extension_class() if name == "TimedExtension" else scheduler_class(name.removeprefix("Timed"))
    return globals()[name]


def extension_class() -> type:
    from worker.engines.deepseek_ocr.towers import Towers
    from worker.engines.vllm_host import core
    from worker.engines.vllm_host.scheduler import AdmissionGroups, OutputBatches

    plain = {
        "groups": (AdmissionGroups, "due", AdmissionGroups.due, lambda *_: True),
        "merge": (OutputBatches, "ready", OutputBatches.ready, lambda self, outputs: list(outputs)),
        "towers": (Towers, "run", Towers.run, models_own),
        "graphs": (Towers, "__call__", Towers.__call__, lambda self, pixels: self.run(pixels)),
    }

    class TimedExtension(core.WorkerExtension):
        def set_levers(self, levers: dict[str, Any]) -> None:
            for name, (owner, attribute, on, off) in plain.items():
                setattr(owner, attribute, on if levers.get(name, True) else off)

        def clock(self) -> dict[str, Any]:
            found = {**CLOCK, "core_cpu": time.process_time()}
            if torch.cuda.is_available():
                found["peak_GiB"] = round(torch.cuda.max_memory_reserved() / 2**30, 2)
            CLOCK.clear()
            return found

    return TimedExtension


def models_own(towers: Any, pixels: torch.Tensor) -> torch.Tensor:
    """vLLM's own code for the same towers."""
    model = towers._model
    sam = model.sam_model(pixels)
    clip = model.vision_model(pixels, sam)
    return model.projector(torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1))


# -- outside


async def rpc(engine: Any, method: str, *args: Any) -> Any:
    return (await engine._vllm.collective_rpc(method, args=args))[0]


def mean_length() -> float:
    drawn = lengths(1)
    return sum(next(drawn) for _ in range(200_000)) / 200_000


def aged(engine: Any, *, tiny: bool) -> None:
    """Prompts of pages with an age grow by as many tokens."""
    plain = engine.model.engine_input

    def engine_input(attempt: Any, page: Any) -> dict[str, Any]:
        given = plain(attempt, page)
        extra = range(min(AGE.get(), 50)) if tiny else (1000 + i * 7919 % 100_000 for i in range(AGE.get()))
        given["prompt_token_ids"] = [*given["prompt_token_ids"], *extra]
        return given

    engine.model.engine_input = engine_input


def in_flight(count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Tokens left and age of ``count`` pages of an engine that has run for long."""
    drawn, found = lengths(11), []
    while len(found) < count:
        length = next(drawn)
        if rng.random() < length / LONGEST:
            age = rng.randrange(length)
            found.append((max(1, length - age), age))
    return found


class Window:
    """``slots`` pages in flight for as long as it is entered: a page that ends is followed by the next."""

    def __init__(self, engine: Any, read: Read, pages: list[Any], slots: int) -> None:
        self._engine, self._read, self._pages, self._slots = engine, read, pages, slots
        self._drawn = lengths(12)
        self.done = 0
        self.page_seconds: list[float] = []

    async def __aenter__(self) -> Window:
        first = in_flight(self._slots, random.Random(11))
        self._tasks = [asyncio.create_task(self._one(i, *page)) for i, page in enumerate(first)]
        began = time.monotonic()
        while self._engine._stats.load.get("running_requests", 0) < 0.97 * self._slots:
            await asyncio.sleep(0.25)
            if time.monotonic() - began > 60 or any(task.done() for task in self._tasks):
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._engine._liveness.reading:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)

    async def _one(self, i: int, tokens: int, age: int) -> None:
        AGE.set(age)
        while True:
            found = await self._read(self._pages[(i + self.done) % len(self._pages)], tokens)
            self.done += 1
            if not AGE.get():
                self.page_seconds.append(found.seconds)
            AGE.set(0)
            tokens = next(self._drawn)


async def steady(engine: Any, read: Read, pages: list[Any], name: str, slots: int, seconds: float, mean: float) -> None:
    async with Window(engine, read, pages, slots) as window:
        await asyncio.sleep(3)
        before, tokens, done = await rpc(engine, "clock"), generated(engine), window.done
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        clock, wall = await rpc(engine, "clock"), time.monotonic() - began
        tokens, done, cpu = generated(engine) - tokens, window.done - done, time.process_time() - cpu
    steps = max(1, clock.pop("steps", 1))
    groups = {k.removeprefix("groups_of_"): v for k, v in sorted(clock.items()) if k.startswith("groups_of_") and v}
    say(
        f"steady: {name}", in_flight=slots, seconds=round(wall, 1), tokens_per_s=round(tokens / wall),
        pages_per_s=round(tokens / wall / mean, 2), pages_done=done, step_ms=round(1e3 * wall / steps, 2),
        running=round(clock.get("running", 0) / steps), waiting=round(clock.get("waiting", 0) / steps, 1),
        schedule_ms=round(1e3 * clock.get("schedule", 0) / steps, 2),
        update_ms=round(1e3 * clock.get("update", 0) / steps, 2),
        core_cpu=round((clock["core_cpu"] - before["core_cpu"]) / wall, 2), front_cpu=round(cpu / wall, 2),
        preempted=clock.get("preempted", 0), groups=groups, peak_GiB=clock.get("peak_GiB"), **memory(engine),
    )  # fmt: skip


def generated(engine: Any) -> int:
    return int(engine._stats.totals["generation_tokens_total"])


async def run(args: argparse.Namespace) -> None:
    start = time.monotonic()
    launch.SCHEDULERS[True] = "benchmarks.gpu_levers.TimedAsyncPageScheduler"
    launch.SCHEDULERS[False] = "benchmarks.gpu_levers.TimedPageScheduler"
    config.EXTENSION = "benchmarks.gpu_levers.TimedExtension"
    engine = await load(engine_settings(args, args.seqs, args.vllm_args, processes=10))
    aged(engine, tiny=args.tiny)
    say(
        "ready", seconds=round(time.monotonic() - start, 1), v2=os.environ[model_runner.V2],
        threads=os.environ["OMP_NUM_THREADS"], **memory(engine),
    )  # fmt: skip
    pages, read, mean = [draw_page(seed) for seed in range(DISTINCT_PAGES)], reader(engine), mean_length()
    gc.collect()
    longest = 100 if args.tiny else LONGEST
    if args.solo:
        await alone("all", read, pages, min(900, longest), args.solo)
        await rpc(engine, "set_levers", {"graphs": False, "towers": False})
        await alone("the model's own towers", read, pages, min(900, longest), args.solo)
        await rpc(engine, "set_levers", {})
    for name, (divided, levers) in WINDOWS.items():
        if (not args.only or name in args.only) and time.monotonic() - start < args.deadline:
            await rpc(engine, "set_levers", levers)
            await steady(engine, read, pages, name, args.seqs // divided, args.seconds, mean)
    await rpc(engine, "set_levers", {})
    if args.pages and time.monotonic() - start < args.deadline:
        await rpc(engine, "clock")
        await crowd("all, from start to end", read, pages, args.seqs, args.pages, longest)
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: tries this script, not a machine")
    parser.add_argument("--seqs", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--solo", type=int, default=3, help="pages read alone")
    parser.add_argument("--pages", type=int, default=1024, help="of the run from start to end; 0: leave it out")
    parser.add_argument("--deadline", type=float, default=1e9, help="begin nothing after so many seconds")
    parser.add_argument("--gpu-memory", type=float, default=0.88)
    parser.add_argument("--vllm-args", type=json.loads, default={})
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
