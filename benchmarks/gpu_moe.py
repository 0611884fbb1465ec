"""Find the fastest launch settings of vLLM's expert kernel for DeepSeek-OCR's experts on this GPU, and write them down.

    python3 -m benchmarks.gpu_moe FOLDER [--seconds 75]

Writes the file that vLLM looks for in ``VLLM_TUNED_CONFIG_FOLDER``: by batch size the settings that were fastest. One
JSON object a line; microseconds of one layer's experts, in a CUDA graph.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_kernels import milliseconds, say

EXPERTS, HIDDEN, WIDTH, CHOSEN = 64, 1280, 896, 6
BATCHES = [1, 16, 64, 128, 256, 384, 512, 768, 1536, 4096, 8192, 16384]
LAUNCHES = 3  # in one graph

Settings = dict[str, int]


class Experts:
    """One layer with random weights, and the tokens of every batch size."""

    def __init__(self) -> None:
        half = {"device": "cuda", "dtype": torch.bfloat16}
        self._up = torch.randn(EXPERTS, 2 * WIDTH, HIDDEN, **half) * 0.03
        self._down = torch.randn(EXPERTS, HIDDEN, WIDTH, **half) * 0.03
        self._batches = {}
        for size in BATCHES:
            weights, ids = torch.rand(size, EXPERTS, device="cuda").softmax(-1).topk(CHOSEN)
            self._batches[size] = torch.randn(size, HIDDEN, **half), weights, ids.to(torch.int32)

    def microseconds(self, size: int, settings: Settings) -> float:
        from vllm.model_executor.layers.fused_moe import override_config
        from vllm.model_executor.layers.fused_moe.fused_moe import fused_experts_impl

        tokens, weights, ids = self._batches[size]

        def run() -> None:
            fused_experts_impl(tokens, self._up, self._down, weights, ids)

        with override_config(settings):
            run()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(LAUNCHES):
                    run()
            return 1e3 * milliseconds(graph.replay, 7) / LAUNCHES


def candidates() -> dict[bool, list[Settings]]:
    """For batches up to 768 tokens (False), and for larger ones (True)."""
    small = product((16, 32, 64), (64, 128), (64, 128), (1,), (4,), (3, 4))
    more = [(64, 128, 128, 1, 8, 3), (64, 256, 64, 1, 8, 3), (64, 128, 64, 16, 4, 4), (16, 64, 64, 1, 4, 5)]
    large = [*product((128,), (128, 256), (64,), (1, 16), (8,), (3, 4)), (128, 128, 64, 16, 4, 3),
             (64, 256, 64, 16, 8, 4), (128, 256, 32, 16, 8, 4), (64, 128, 64, 16, 4, 4)]  # fmt: skip
    return {False: [_named(*one) for one in (*small, *more)], True: [_named(*one) for one in large]}


def _named(m: int, n: int, k: int, group: int, warps: int, stages: int) -> Settings:
    sizes = {"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": n, "BLOCK_SIZE_K": k, "GROUP_SIZE_M": group, "SPLIT_K": 1}
    return {**sizes, "num_warps": warps, "num_stages": stages}


def tune(experts: Experts, seconds: float) -> dict[int, tuple[float, Settings]]:
    """By batch size: the fastest time and its settings, vLLM's own where nothing is faster."""
    from triton.runtime.errors import OutOfResources
    from vllm.model_executor.layers.fused_moe.fused_moe import get_default_config

    best: dict[int, tuple[float, Settings]] = {}
    for size in BATCHES:
        own: Settings = dict(get_default_config(size, EXPERTS, WIDTH, HIDDEN, CHOSEN, None))
        best[size] = experts.microseconds(size, own), {"num_warps": 4, "num_stages": 3, **own}
    own_times = {size: round(took) for size, (took, _) in best.items()}
    say("experts: vLLM's own settings", us=own_times)
    began, tried = time.monotonic(), 0
    by_size = candidates()
    for size in sorted(BATCHES, key=lambda size: size not in (384, 512, 8192, 16384)):  # what a full engine runs, first
        for settings in by_size[size > 768]:
            if time.monotonic() - began > seconds:
                break
            try:
                took = experts.microseconds(size, settings)
            except OutOfResources:
                continue
            tried += 1
            best[size] = min(best[size], (took, settings), key=lambda found: found[0])
    say("experts: tuned", tried=tried, us={size: round(took) for size, (took, _) in best.items()})
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=75)
    args = parser.parse_args()
    from vllm.model_executor.layers.fused_moe.fused_moe import get_config_file_name

    best = tune(Experts(), args.seconds)
    found: dict[str, Any] = {str(size): settings for size, (_, settings) in sorted(best.items())}
    args.folder.mkdir(parents=True, exist_ok=True)
    name = get_config_file_name(EXPERTS, WIDTH, None)
    (args.folder / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
