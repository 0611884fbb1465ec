"""The GPU kernels against what they stand for: equal bans, the encoder's error and time. One JSON object a line.

    python3 -m benchmarks.gpu_kernels [--sequences 10000] [--pages 8]

The towers are full-size with random weights. ``reference``: the model's own code in float32; errors are relative norms
over pages of all modes and grids.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


def say(case: str, **numbers: Any) -> None:
    print(json.dumps({"case": case, **numbers}), flush=True)


# -- n-gram rule


def check_ngram(sequences: int) -> None:
    """Rows that loop, of 512 requests at once, against the reference rule; then a step's time."""
    from worker.engines.vllm_host.ngram import banned
    from worker.engines.vllm_host.ngram_rows import RuleRows

    rng, slots, width, vocabulary = random.Random(7), 512, 2048, 64
    device = torch.device("cuda")
    rows, wrong, hits, seen = RuleRows(slots, width, device), 0, 0, 0
    while seen < sequences:
        outputs, rules = [], []
        tokens = torch.full((slots, width), vocabulary - 1, dtype=torch.int32)
        prompts = torch.tensor([rng.randint(1, 20) for _ in range(slots)], dtype=torch.int32)
        for slot in range(slots):
            letters, period = rng.randint(1, 4), rng.randint(1, 40)
            loop = [rng.randrange(letters) for _ in range(period)]
            size, window = rng.choice([0, 1, 2, 3, 5, 20, 30]), rng.choice([1, 5, 50, 90, 256])
            output = [loop[i % period] if rng.random() < 0.98 else rng.randrange(letters)
                      for i in range(rng.randint(0, 1500))]  # fmt: skip
            white = rng.sample(range(4), rng.randint(0, 2))
            outputs.append(output)
            rules.append((size, window, set(white)))
            begin = int(prompts[slot])
            tokens[slot, begin : begin + len(output)] = torch.tensor(output, dtype=torch.int32)
            extra = {"ngram_size": size, "window_size": window, "whitelist_token_ids": white} if size else None
            rows.add_request(slot, SimpleNamespace(extra_args=extra))
        rows.apply_staged_writes()
        totals = prompts + torch.tensor([len(output) for output in outputs], dtype=torch.int32)
        order = torch.tensor(rng.sample(range(slots), slots), dtype=torch.int32)
        logits = torch.zeros(slots, vocabulary, device=device)
        pinned = tokens.pin_memory().to(device)
        rows.apply(logits, order.to(device), order.numpy(), pinned, prompts.to(device), totals.to(device))
        for row, slot in enumerate(order.tolist()):
            size, window, white = rules[slot]
            expected = banned(outputs[slot], size, window) - white if size else set()
            found = set(logits[row].isinf().nonzero().flatten().tolist())
            wrong += found != expected
            hits += bool(expected)
        seen += slots
    say("n-gram kernel", sequences=seen, with_a_ban=hits, different=wrong)
    time_ngram(slots)


def time_ngram(slots: int) -> None:
    from worker.engines.vllm_host.ngram_rows import RuleRows

    device, length = torch.device("cuda"), 3000
    rows = RuleRows(slots, 8192, device)
    for slot in range(slots):
        extra = {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [128821, 128822]}
        rows.add_request(slot, SimpleNamespace(extra_args=extra))
    rows.apply_staged_writes()
    tokens = torch.randint(0, 100, (slots, 8192), dtype=torch.int32).pin_memory().to(device)
    prompts = torch.full((slots,), 913, dtype=torch.int32, device=device)
    totals, order = prompts + length, torch.arange(slots, dtype=torch.int32, device=device)
    logits, order_np = torch.zeros(slots, 129_280, device=device), np.arange(slots)

    def step() -> None:
        totals.add_(1)
        rows.apply(logits, order, order_np, tokens, prompts, totals)

    say("n-gram kernel: a step", rows=slots, us=round(1e3 * milliseconds(step, 50)))


# -- encoder


def towers_model(dtype: torch.dtype) -> Any:
    """Both towers and the projector at full size, weights of the size that trained ones have."""
    from transformers import CLIPVisionConfig
    from vllm.model_executor.models.deepencoder import DeepCLIPVisionTransformer, build_sam_vit_b

    torch.set_default_dtype(dtype)
    with torch.device("cuda"):
        model: Any = torch.nn.Module()
        model.sam_model = build_sam_vit_b()
        model.vision_model = DeepCLIPVisionTransformer(
            CLIPVisionConfig(
                hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=24, image_size=224,
                patch_size=14, projection_dim=512, layer_norm_eps=1e-5,
            )
        )  # fmt: skip
        model.projector = torch.nn.Linear(2048, 1280)
    torch.set_default_dtype(torch.float32)
    generator = torch.Generator(device="cuda").manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, device="cuda")
        parameter.data.copy_(weight(name, parameter, noise))
    for module in model.modules():
        if hasattr(method := getattr(module, "quant_method", None), "process_weights_after_loading"):
            method.process_weights_after_loading(module)
    return model.eval().requires_grad_(requires_grad=False)


def weight(name: str, parameter: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    if parameter.dim() >= 2:
        fan = parameter[0].numel() ** 0.5
        return noise * (0.5 if "rel_pos" in name else 0.02 if "pos" in name else 1 / fan)
    if "bias" in name:
        return noise * 0.02
    return 1 + noise * 0.05 if "norm" in name or "layrnorm" in name else noise * 0.03


def own_code(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    sam = model.sam_model(pixels)
    clip = model.vision_model(pixels, sam)
    return model.projector(torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1))


def check_encoder(pages: int) -> None:
    from worker.engines.deepseek_ocr.towers import Towers

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    exact, model = towers_model(torch.float32), towers_model(torch.bfloat16)
    towers = Towers(model)
    errors: dict[str, list[float]] = {"own": [], "ours": []}
    generator = torch.Generator(device="cuda").manual_seed(1)
    with torch.inference_mode():
        for size, count in [(512, 1), (640, 1), (1024, 1), (1280, 1), (640, 2), (640, 5), (640, 6)] * 14:
            noise = torch.randn(count, 3, size // 16, size // 16, generator=generator, device="cuda")
            pixels = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic").clamp(-1, 1)
            wanted = own_code(exact, pixels)
            for name, run in (("own", lambda x: own_code(model, x)), ("ours", towers)):
                found = run(pixels.bfloat16()).float()
                errors[name].append(float((found - wanted).norm() / wanted.norm()))
        say("encoder: error against float32", pages=len(errors["own"]),
            own=round(statistics.mean(errors["own"]), 5), ours=round(statistics.mean(errors["ours"]), 5),
            own_max=round(max(errors["own"]), 5), ours_max=round(max(errors["ours"]), 5))  # fmt: skip
        del exact
        torch.cuda.empty_cache()
        for count in sorted({1, 2, 4, pages}):
            time_encoder(f"encoder: {count} pages, own", lambda x: own_code(model, x), count)
            time_encoder(f"encoder: {count} pages, ours", towers, count)
        check_graphs(towers)


def check_graphs(towers: Any) -> None:
    """A page alone as CUDA graphs: bit for bit what it is without."""
    for shape in ((1, 3, 1024, 1024), (6, 3, 640, 640)):
        towers.capture(torch.zeros(shape, dtype=torch.bfloat16, device="cuda"))
    pixels = torch.randn(6, 3, 640, 640, device="cuda").bfloat16()
    say("encoder: a graph's result is the same", equal=bool(torch.equal(towers(pixels), towers.run(pixels))))
    time_encoder("encoder: 1 pages, as CUDA graphs", towers, 1)


def time_encoder(name: str, run: Callable[[torch.Tensor], torch.Tensor], pages: int) -> None:
    """A4 pages: one view of 1024 pixels and six tiles of 640 each."""
    whole = torch.randn(pages, 3, 1024, 1024, device="cuda").bfloat16()
    tiles = torch.randn(6 * pages, 3, 640, 640, device="cuda").bfloat16()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    ms = milliseconds(lambda: (run(whole), run(tiles)), 8)
    say(name, ms_a_page=round(ms / pages, 2), GiB=round((torch.cuda.max_memory_allocated() - held) / 2**30, 2))


def milliseconds(step: Callable[[], Any], times: int) -> float:
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    found = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=8)
    args = parser.parse_args()
    say("card", name=torch.cuda.get_device_name(), torch=torch.__version__)
    check_ngram(args.sequences)
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(1, 0, "tcp://127.0.0.1:29571", 0, "nccl")
        initialize_model_parallel(1, 1)
        check_encoder(args.pages)


if __name__ == "__main__":
    main()
