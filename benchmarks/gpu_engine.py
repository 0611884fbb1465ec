"""The DeepSeek-OCR engine in this process, against stock vLLM in the same run, on a stand-in for the model.

    python3 tests/vllm/make_model.py MODEL --full-size [--weights] [--tokenizer FILE]
    python3 -m benchmarks.gpu_engine MODEL [--in-flight 1,16,64,256] [--stock 256] [--pages-per-slot 2]
    make test-engine's environment, without a GPU:  python -m benchmarks.gpu_engine MODEL --tiny

Text is noise, time is real: every page is A4 at 150 dpi and is given a length before it starts (lognormal, 735 tokens
in the middle, 64 to 4000), the same for both engines. One JSON object a line; all times in seconds.
``ENGINE=benchmarks.gpu_engine:load`` runs the same engine inside a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.processes import quantile
from shared.contract.options import Options
from worker.engines.base import PageImage, PageRead, Piece
from worker.engines.deepseek_ocr import CARD
from worker.engines.vllm_host import config, model_runner
from worker.engines.vllm_host.settings import VllmSettings

TINY_ARGS = {
    "load_format": "dummy_scaled",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 1 << 30,
    "skip_mm_profiling": True,
}
DISTINCT_PAGES = 16
SOLO_TOKENS = 900


def weights_of(model: str) -> dict[str, Any]:
    """vLLM makes random weights where the folder holds none."""
    return {} if any(Path(model).glob("*.safetensors")) else {"load_format": "dummy"}


@dataclass(frozen=True)
class Result:
    """One page: when it ended, when its first token came, and how many came."""

    seconds: float
    first: float
    tokens: int


WANTED: ContextVar[int | None] = ContextVar("WANTED", default=None)
"""Tokens of the page that this task reads."""

Read = Callable[[Image.Image, int], Awaitable[Result]]


SAID = '{"case"'
"""How a line of ours begins: vLLM's processes also write to standard output."""


def said(text: str) -> dict[str, Any]:
    """What was measured, by its case."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith(SAID)]
    return {case["case"]: case for case in found}


def say(case: str, **numbers: Any) -> None:
    print(json.dumps({"case": case, **numbers}, ensure_ascii=False), flush=True)


# -- pages and their lengths


def draw_page(seed: int, width: int = 1240, height: int = 1754) -> Image.Image:
    """A page full of random words."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    for y in range(60, height - 60, 30):
        words = ("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(14))
        draw.text((60, y), " ".join(words), fill="black", font=font)
    return image


def lengths(seed: int = 7) -> Iterator[int]:
    rng = random.Random(seed)
    while True:
        yield max(64, min(4000, int(rng.lognormvariate(6.6, 0.6))))


# -- our engine


SETTINGS = VllmSettings


async def load(settings: VllmSettings) -> Any:
    """Our engine with pages of drawn lengths: it neither ends by itself nor reads a page again."""
    from worker.engines.deepseek_ocr import load as load_engine

    engine = await load_engine(settings)
    endless(engine.model)
    plain, drawn = engine.sampling, lengths()

    def sampling(how: Any, prompt_tokens: int, **more: Any) -> Any:
        return plain(how, prompt_tokens, max_tokens=WANTED.get() or next(drawn), ignore_eos=True, **more)

    engine.sampling = sampling  # type: ignore[assignment,method-assign]
    return engine


class Unheeded:
    """A guard that looks as ever, and whose word nobody takes."""

    def __init__(self, guard: Any) -> None:
        self._guard = guard

    def feed(self, ids: Any, text: str) -> bool:
        self._guard.feed(ids, text)
        return False


def endless(model: Any) -> None:
    """Random weights loop and never stop: the guard goes on looking, but nothing is read again."""
    guard = model.guard
    model.guard = lambda **limits: Unheeded(guard(**limits))
    model.retries = lambda *_: iter(())


def reader(engine: Any) -> Read:
    async def read(image: Image.Image, tokens: int) -> Result:
        WANTED.set(tokens)
        began, first = time.monotonic(), 0.0
        pieces: AsyncIterator[Piece] = engine.read(PageImage(1, image), Options())
        async for piece in pieces:
            first = first or time.monotonic() - began
            if isinstance(piece, PageRead):
                return Result(time.monotonic() - began, first, piece.usage.completion_tokens)
        raise AssertionError("the engine ended without a page")

    return read


# -- stock vLLM


async def stock(settings: VllmSettings) -> tuple[Any, Read]:
    """AsyncLLM as its documentation shows it: PIL pictures in, the shipped n-gram processor, the same budgets.

    Threads as they come (``OMP_NUM_THREADS`` of the environment, else all cores). The processor is model runner V1's.
    """
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ[model_runner.V2] = "0"
    config.environment(settings, dataclasses.replace(CARD, plugin=None))
    if threads is None:
        del os.environ["OMP_NUM_THREADS"]
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = config.engine_args(settings, CARD)
    for ours in ("worker_extension_cls", "stream_interval", "hf_overrides", "additional_config"):
        args.pop(ours)
    args["logits_processors"] = ["vllm.model_executor.models.deepseek_ocr:NGramPerReqLogitsProcessor"]
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**args))
    return engine, stock_reader(engine)


def stock_reader(engine: Any) -> Read:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from deepseek_ocr.engine import SAMPLING
    from deepseek_ocr.prompts import DOCUMENT
    from deepseek_ocr.repetition import NGRAM

    whitelist = engine.get_tokenizer().convert_tokens_to_ids(list(NGRAM.whitelist))
    number = itertools.count()

    async def read(image: Image.Image, tokens: int) -> Result:
        params = SamplingParams(
            **SAMPLING,
            max_tokens=tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.DELTA,
            extra_args=NGRAM.extra_args(whitelist),
        )
        began, first, count = time.monotonic(), 0.0, 0
        prompt = {"prompt": DOCUMENT, "multi_modal_data": {"image": image}}
        async for output in engine.generate(prompt, params, request_id=f"stock-{next(number)}"):
            first = first or time.monotonic() - began
            count += len(output.outputs[0].token_ids)
        return Result(time.monotonic() - began, first, count)

    return read


# -- measuring


async def alone(name: str, read: Read, pages: list[Image.Image], tokens: int, times: int) -> None:
    found = [await read(pages[i % len(pages)], tokens) for i in range(times + 1)][1:]
    say(
        f"{name}: one page alone",
        tokens=tokens,
        seconds=round(statistics.median(r.seconds for r in found), 3),
        first_token=round(statistics.median(r.first for r in found), 3),
        tokens_per_s=round(statistics.median(r.tokens / r.seconds for r in found), 1),
    )


async def crowd(name: str, read: Read, pages: list[Image.Image], slots: int, count: int, longest: int) -> float:
    """``count`` pages, ``slots`` of them at any time. Returns pages per second."""
    places, drawn = asyncio.Semaphore(slots), lengths()

    async def one(i: int) -> Result:
        async with places:
            return await read(pages[i % len(pages)], min(next(drawn), longest))

    began, cpu = time.monotonic(), time.process_time()
    found = await asyncio.gather(*map(one, range(count)))
    wall = time.monotonic() - began
    say(
        f"{name}: {slots} in flight",
        pages=count,
        wall=round(wall, 2),
        pages_per_s=round(count / wall, 3),
        tokens_per_s=round(sum(r.tokens for r in found) / wall),
        page_p50=round(statistics.median(r.seconds for r in found), 2),
        page_p95=round(quantile([r.seconds for r in found], 0.95), 2),
        first_token_p50=round(statistics.median(r.first for r in found), 3),
        this_process_cpu=round((time.process_time() - cpu) / wall, 2),
    )
    return count / wall


async def measure_ours(args: argparse.Namespace, settings: VllmSettings, pages: list[Image.Image]) -> float:
    began = time.monotonic()
    engine = await load(settings)
    say("ours: ready", start=args.start, seconds=round(time.monotonic() - began, 1), **memory(engine))
    read, best = reader(engine), 0.0
    await alone("ours", read, pages, args.solo_tokens, args.solo)
    await crowd("ours, warming up", read, pages, min(32, max(args.in_flight)), min(32, max(args.in_flight)), 200)
    for slots in args.in_flight:
        count = max(args.solo, int(slots * args.pages_per_slot))
        best = await crowd("ours", read, pages, slots, count, args.longest)
    say("ours: account", **engine.describe().metrics)
    await engine.close()
    return best


async def measure_stock(args: argparse.Namespace, settings: VllmSettings, pages: list[Image.Image]) -> float:
    began = time.monotonic()
    engine, read = await stock(settings)
    await read(pages[0], 8)
    say("stock: ready", seconds=round(time.monotonic() - began, 1))
    await alone("stock", read, pages, args.solo_tokens, args.solo)
    count = int(args.stock * args.pages_per_slot)
    rate = await crowd("stock", read, pages, args.stock, count, args.longest)
    engine.shutdown()
    return rate


def stock_apart(args: argparse.Namespace) -> float:
    """In a process of its own: ours has put parts of its own in the place of vLLM's. Returns pages per second."""
    command = [
        sys.executable, "-m", "benchmarks.gpu_engine", args.model, "--in-flight", "", "--stock", str(args.stock),
        "--pages-per-slot", str(args.pages_per_slot), "--solo", str(args.solo), "--solo-tokens", str(args.solo_tokens),
        "--longest", str(args.longest), "--gpu-memory", str(args.gpu_memory), *(["--tiny"] if args.tiny else []),
        "--vllm-args", json.dumps(args.vllm_args),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
    if child.returncode:
        raise SystemExit(f"stock vLLM ended with {child.returncode}:\n{printed[-3000:]}")
    cases = said(printed)
    for case in cases.values():
        say(**case)
    return float(cases[f"stock: {args.stock} in flight"]["pages_per_s"])


def memory(engine: Any) -> dict[str, float]:
    return {k: round(v / 2**30, 2) for k, v in engine.describe().metrics.items() if k.startswith("gpu_memory")}


# -- a worker that is killed


def killed(model: str, rest: list[str]) -> None:
    """Start the engine in a process of its own, kill that, and look at the GPU's memory for five seconds."""
    from worker.engines.vllm_host.gpu import Gpu

    gpu = Gpu(os.environ.get("CUDA_VISIBLE_DEVICES") or "0")
    before = gpu.memory().get("used")
    command = [sys.executable, "-m", "benchmarks.gpu_engine", model, *rest, "--hold"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        ready = any(line.startswith("ready") for line in owner.stdout)
        held = gpu.memory().get("used")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    after = []
    for _ in range(10):
        time.sleep(0.5)
        after.append(gpu.memory().get("used"))
    say("kill -9", ready=ready, before=before, held=held, after_each_half_second=after)


async def hold(settings: VllmSettings) -> None:
    engine = await load(settings)
    print("ready", engine.describe().version, flush=True)
    await asyncio.Event().wait()


# -- the run


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder made by tests/vllm/make_model.py")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: tries this script, not a machine")
    parser.add_argument("--in-flight", default="1,16,64,256,512", help="pages at once, one measurement each")
    parser.add_argument("--stock", type=int, default=256, help="pages at once in stock vLLM; 0: leave it out")
    parser.add_argument("--pages-per-slot", type=float, default=2.0)
    parser.add_argument("--solo", type=int, default=3, help="pages read alone, one at least")
    parser.add_argument("--solo-tokens", type=int, default=SOLO_TOKENS)
    parser.add_argument("--longest", type=int, default=4000, help="cap of a page's tokens")
    parser.add_argument("--gpu-memory", type=float, default=0.5)
    parser.add_argument("--cold", action="store_true", help="begin with an empty compile cache and start twice")
    parser.add_argument("--kill", action="store_true", help="end with a worker that is killed")
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--vllm-args", type=json.loads, default={}, help="more of AsyncEngineArgs, as JSON")
    args = parser.parse_args()
    args.in_flight = [int(slots) for slots in args.in_flight.split(",") if slots]
    args.start = "cold" if args.cold else "as found"
    return args


def settings_of(args: argparse.Namespace) -> VllmSettings:
    return engine_settings(args, max([*args.in_flight, args.stock, 1]), args.vllm_args)


def engine_settings(
    args: argparse.Namespace, slots: int, vllm_args: dict[str, Any], processes: int = 8, **more: Any
) -> VllmSettings:
    """Of ``args``: ``model``, ``tiny`` and ``gpu_memory``. ``processes``: that prepare pages, at most."""
    small = {"max_model_len": 4096, "max_num_batched_tokens": 4096, "preprocess_processes": 1} if args.tiny else {}
    kind = TINY_ARGS if args.tiny else weights_of(args.model)
    values: dict[str, Any] = {
        "model_path": args.model,
        "max_num_seqs": slots,
        "gpu_memory_utilization": args.gpu_memory,
        "preprocess_processes": min(processes, os.cpu_count() or 1),
        **more,
        **small,
        "vllm_args": {**kind, **vllm_args},
    }
    return VllmSettings(_env_file=None, **values)


async def run(args: argparse.Namespace) -> None:
    settings, pages = settings_of(args), [draw_page(seed) for seed in range(DISTINCT_PAGES)]
    if args.hold:
        await hold(settings)
    if args.cold:
        began = time.monotonic()
        first = await load(settings)
        say("ours: ready", start="cold", seconds=round(time.monotonic() - began, 1))
        await first.close()
        args.start = "warm"
    ours = await measure_ours(args, settings, pages) if args.in_flight else 0.0
    gc.collect()
    if not args.stock:
        return
    theirs = stock_apart(args) if ours else await measure_stock(args, settings, pages)
    if ours:
        say("ours against stock", at=[args.in_flight[-1], args.stock], times=round(ours / theirs, 2))


def main() -> None:
    args = parsed()
    if args.cold and not args.hold:
        os.environ["VLLM_CACHE_ROOT"] = tempfile.mkdtemp(prefix="vllm-cache-")
    asyncio.run(run(args))
    if args.kill:
        killed(args.model, ["--in-flight", "16", "--stock", "0", *(["--tiny"] if args.tiny else [])])


if __name__ == "__main__":
    main()
