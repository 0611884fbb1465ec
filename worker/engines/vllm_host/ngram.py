"""The no-repeat n-gram rule: what it forbids, and how a request asks for it.

The same rule and the same ``SamplingParams.extra_args`` as vLLM's ``NGramPerReqLogitsProcessor``: the last
``ngram_size - 1`` tokens must not be followed by what followed them within the last ``window_size`` tokens, except by
tokens of ``whitelist_token_ids``. ``ngram_v2`` and ``ngram_sampler`` bring it into vLLM's model runner V2 (from 0.31
on by its logits processors, before by the sampler of a model's own state), ``ngram_v1`` into V1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WHITELIST = 4
"""Tokens of a request's whitelist, at most."""

DEFAULT_WINDOW = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """One request's."""

    size: int
    window: int
    whitelist: tuple[int, ...] = ()


def rule_of(extra_args: Mapping[str, Any] | None) -> Rule | None:
    """None without one. Raises ValueError for arguments that make no rule."""
    if not extra_args or extra_args.get("ngram_size") is None:
        return None
    size, window = extra_args["ngram_size"], extra_args.get("window_size", DEFAULT_WINDOW)
    if not all(isinstance(number, int) and number > 0 for number in (size, window)):
        raise ValueError(f"ngram_size and window_size must be positive integers, got {size!r} and {window!r}")
    whitelist = tuple(extra_args.get("whitelist_token_ids") or ())
    if len(whitelist) > WHITELIST:
        raise ValueError(f"whitelist_token_ids holds {len(whitelist)} tokens, at most {WHITELIST} are possible")
    return Rule(size, window, whitelist)


def banned(output: Sequence[int], size: int, window: int) -> set[int]:
    """Tokens that would repeat an n-gram of ``size`` that starts within the last ``window`` tokens of ``output``.

    The reference for every other way of computing it.
    """
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
