"""The n-gram rule as a logits processor of model runner V1, in vLLM's own process: for machines without Triton.

A page whose last token is new to its window costs one search, and nothing is done to the logits until something is
banned.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from worker.engines.vllm_host.ngram import Rule, banned, rule_of


class NoRepeatNGramV1(LogitsProcessor):  # type: ignore[misc]
    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        rule_of(sampling_params.extra_args)

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device, self._rules = device, dict[int, tuple[Rule, list[int]]]()

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._rules, batch_update, _with_output)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        pairs = [
            (row, token)
            for row, (rule, output) in self._rules.items()
            for token in banned(output, rule.size, rule.window).difference(rule.whitelist)
        ]
        if pairs:
            rows, tokens = torch.tensor(pairs, device=self._device).unbind(1)
            logits[rows, tokens] = -float("inf")
        return logits


def _with_output(params: Any, _prompt: list[int] | None, output: list[int]) -> tuple[Rule, list[int]] | None:
    """The rule and the engine's own list of the request's tokens, which grows."""
    rule = rule_of(params.extra_args)
    return (rule, output) if rule else None
