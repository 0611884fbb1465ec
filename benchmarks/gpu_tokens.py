"""Greedy tokens of two ways to run the engine, page by page, and how far their logits are apart.

    python3 -m benchmarks.gpu_tokens MODEL [--pages 200] [--tokens 300] [--ways v2,v1,fp8] [--device 0] [--tiny]

``v2``: the engine as it is; ``v1``: with model runner V1 of vLLM, where the n-gram rule is a processor of ours on the
CPU; ``fp8``: as it is, with a KV cache in FP8. Each is a process of its own. Pages of all modes and many sizes, n-gram
rule on. Every way reads the pages twice, the second time in another order: what two readings of one way differ by comes
of the other pages in their batches. One JSON object a line.

A logit of the model is bfloat16, so two of them that lie beside each other are one *step* apart: logits that are equal
but for rounding can change places. Where two readings part, ``steps`` says how far the two tokens' logits were apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import subprocess
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from benchmarks.gpu_engine import draw_page, engine_settings, say
from deepseek_ocr.modes import MODES
from shared.contract.options import Options
from worker.engines.vllm_host import model_runner

TOP = 20
"""Logits that are kept of each token, the largest first: as many as vLLM gives away."""

WAYS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "v2": ({}, {}),
    "v1": ({model_runner.V2: "0"}, {}),
    "fp8": ({}, {"kv_cache_dtype": "fp8"}),
}
"""Name: environment, and more of ``AsyncEngineArgs``."""


@dataclass(slots=True)
class PageTokens:
    """One page: its tokens, and for each the log-probabilities of the likeliest, by token."""

    tokens: list[int] = field(default_factory=list)
    tops: list[dict[int, float]] = field(default_factory=list)

    def gap(self, at: int, one: int, other: int) -> float:
        """Between the logits of two tokens at a place; infinite if one was not among the likeliest."""
        top = self.tops[at]
        return abs(top[one] - top[other]) if one in top and other in top else math.inf


# -- one way


async def readings(args: argparse.Namespace) -> list[list[PageTokens]]:
    """Of all pages, twice."""
    from worker.engines.deepseek_ocr import load

    engine = await load(engine_settings(args, args.in_flight, WAYS[args.one][1], processes=4, cuda_device=args.device))
    names, places = list(MODES), asyncio.Semaphore(args.in_flight)

    async def read(number: int) -> PageTokens:
        async with places:
            image = await asyncio.to_thread(draw_page, number, 620 + number % 7 * 155, 620 + number % 5 * 280)
            return await tokens_of(engine, image, names[number % len(names)], args.tokens)

    found = []
    for order in (range(args.pages), random.Random(1).sample(range(args.pages), args.pages)):
        read_in_order = await asyncio.gather(*(read(number) for number in order))
        by_page = dict(zip(order, read_in_order, strict=True))
        found.append([by_page[number] for number in range(args.pages)])
    await engine.close()
    return found


async def tokens_of(engine: Any, image: Any, mode: str, count: int) -> PageTokens:
    request = engine.model.request(Options(mode=mode))
    attempt, prepared = engine.model.first(request), await engine.prepare(image, request)
    given = engine.model.engine_input(attempt, prepared)
    sampling = engine.sampling(attempt, len(given["prompt_token_ids"]), max_tokens=count, ignore_eos=True, logprobs=TOP)
    found = PageTokens()
    async with aclosing(engine.generate(given, sampling)) as outputs:
        async for output in outputs:
            made = output.outputs[0]
            found.tokens.extend(made.token_ids)
            found.tops.extend({token: one.logprob for token, one in top.items()} for top in made.logprobs)
    return found


def in_its_own_process(args: argparse.Namespace, way: str) -> list[list[PageTokens]]:
    out = args.folder / f"{way}.json"
    command = [
        sys.executable, "-m", "benchmarks.gpu_tokens", args.model, "--one", way, "--out", str(out),
        "--pages", str(args.pages), "--tokens", str(args.tokens), "--in-flight", str(args.in_flight),
        "--device", args.device, "--gpu-memory", str(args.gpu_memory), *(["--tiny"] if args.tiny else []),
    ]  # fmt: skip
    if not out.exists():
        subprocess.run(command, env={**os.environ, **WAYS[way][0]}, stdout=subprocess.PIPE, check=True)
    return [[_loaded(page) for page in reading] for reading in json.loads(out.read_text("utf-8"))]


def _loaded(page: dict[str, Any]) -> PageTokens:
    return PageTokens(page["tokens"], [{int(token): value for token, value in top.items()} for top in page["tops"]])


# -- comparing


def step_of(readings: list[PageTokens]) -> float:
    """The distance of neighbouring logits in bfloat16, near the largest: the smallest that is seen among them."""
    found = []
    for page in readings:
        for top in page.tops:
            ordered = sorted(top.values(), reverse=True)
            found += [gap for a, b in pairwise(ordered) if (gap := a - b) > 1e-4]
    return min(found)


def compare(name: str, ones: list[PageTokens], others: list[PageTokens]) -> None:
    """Of every page up to the place where the two readings part: then they read different texts."""
    step, gaps, apart, compared = step_of(ones), [], [], 0
    for one, other in zip(ones, others, strict=True):
        at = first_difference(one.tokens, other.tokens)
        same = len(one.tokens) if at is None else at
        compared += same
        for place in range(same):
            token = one.tokens[place]
            if token in one.tops[place] and token in other.tops[place]:
                apart.append(abs(one.tops[place][token] - other.tops[place][token]))
        if at is not None:
            tokens = one.tokens[at], other.tokens[at]
            gaps.append(min(one.gap(at, *tokens), other.gap(at, *tokens)) / step)
    say(
        f"tokens: {name}", pages=len(ones), equal=len(ones) - len(gaps), tokens_compared=compared,
        parted=len(gaps), within_1_step=sum(gap < 1.5 for gap in gaps), within_4_steps=sum(gap < 4.5 for gap in gaps),
        most_steps=round(max(gaps, default=0.0), 1), step=round(step, 5),
        logprob_apart_mean=round(statistics.mean(apart), 5), logprob_apart_max=round(max(apart), 4),
    )  # fmt: skip


def first_difference(one: list[int], other: list[int]) -> int | None:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: tries this script, not a machine")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=300, help="of each page")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--device", default="0")
    parser.add_argument("--gpu-memory", type=float, default=0.5)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/gpu-tokens"), help="keeps what each way read; it is not read again"
    )
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        read_twice = asyncio.run(readings(args))
        args.out.write_text(json.dumps([[asdict(page) for page in once] for once in read_twice]), encoding="utf-8")
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    found = {way: in_its_own_process(args, way) for way in args.ways}
    for way, (first, second) in found.items():
        compare(f"{way}, read twice", first, second)
    for one, other in combinations(found, 2):
        compare(f"{one} and {other}", found[one][0], found[other][0])


if __name__ == "__main__":
    main()
