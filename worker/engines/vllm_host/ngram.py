"""The no-repeat n-gram rule as a vLLM logits processor; loaded in vLLM's own process.

The same rule and the same ``extra_args`` as vLLM's ``NGramPerReqLogitsProcessor`` (the last ``ngram_size - 1`` tokens
must not be followed by what followed them within the last ``window_size`` tokens), for a tenth of its time: a page
whose last token is new to its window costs one search, and nothing is done to the logits until something is banned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates


class Rule:
    """The rule for one request; ``output`` is the engine's own list of its tokens, which grows."""

    def __init__(self, size: int, window: int, whitelist: frozenset[int], output: list[int]) -> None:
        self._size, self._window, self._whitelist, self._output = size, window, whitelist, output

    def banned(self) -> set[int]:
        """Tokens that must not come next."""
        return banned(self._output, self._size, self._window) - self._whitelist


def banned(output: Sequence[int], size: int, window: int) -> set[int]:
    """Tokens that would repeat an n-gram of ``size`` that starts within the last ``window`` tokens of ``output``."""
    length, found = len(output), set[int]()
    if length < size:
        return found
    if size == 1:
        return set(output[-window:])
    last = output[-1]
    first = max(0, length - window) + size - 2  # where the earliest n-gram in question has its last but one token
    searched = output[first : length - 1]
    if last not in searched:
        return found
    key = output[length - size + 1 :]
    for at, token in enumerate(searched, first):
        if token == last and output[at - size + 2 : at + 1] == key:
            found.add(output[at + 1])
    return found


class NoRepeatNGram(LogitsProcessor):  # type: ignore[misc]
    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        _rule_args(sampling_params.extra_args)

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device, self._rules = device, dict[int, Rule]()

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._rules, batch_update, _new_rule)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        pairs = [(row, token) for row, rule in self._rules.items() for token in rule.banned()]
        if pairs:
            rows, tokens = torch.tensor(pairs, device=self._device).unbind(1)
            logits[rows, tokens] = -float("inf")
        return logits


def _new_rule(params: Any, _prompt: list[int] | None, output: list[int]) -> Rule | None:
    args = _rule_args(params.extra_args)
    return Rule(*args, output) if args else None


def _rule_args(extra: dict[str, Any] | None) -> tuple[int, int, frozenset[int]] | None:
    if not extra or extra.get("ngram_size") is None:
        return None
    size, window = extra["ngram_size"], extra.get("window_size", 100)
    if not all(isinstance(number, int) and number > 0 for number in (size, window)):
        raise ValueError(f"ngram_size and window_size must be positive integers, got {size!r} and {window!r}")
    return size, window, frozenset(extra.get("whitelist_token_ids") or ())
