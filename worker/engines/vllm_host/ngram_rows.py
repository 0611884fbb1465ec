"""The n-gram rules of all requests of model runner V2, by the slots it keeps requests in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from worker.engines.vllm_host.ngram import WHITELIST, rule_of

FIELDS = 3 + WHITELIST
"""Of a slot: size (0: no rule), window, generation, whitelist."""

NO_TOKEN = -1


class RuleRows:
    """``slots`` requests of ``max_len`` tokens. On a GPU a kernel applies the rules, else its twin in PyTorch.

    ``changed``: whether ``apply_staged_writes`` has something to do.
    """

    def __init__(self, slots: int, max_len: int, device: torch.device) -> None:
        self._device = device
        self._staged = np.zeros((slots, FIELDS), dtype=np.int32)
        self.changed = True  # the device has nothing yet
        self._rules = torch.zeros((slots, FIELDS), dtype=torch.int32, device=device)
        on_gpu = device.type == "cuda"
        self._history = torch.zeros((slots, max_len if on_gpu else 0), dtype=torch.int32, device=device)
        self._copied = torch.zeros((slots, 2), dtype=torch.int32, device=device)

    def add_request(self, slot: int, params: Any) -> bool:
        """A request takes the slot: what was there is forgotten. True if it has a rule."""
        rule = rule_of(params.extra_args)
        row = self._staged[slot]
        row[2] += 1
        row[0], row[1] = (rule.size, rule.window) if rule else (0, 0)
        row[3:] = NO_TOKEN
        if rule:
            row[3 : 3 + len(rule.whitelist)] = rule.whitelist
        self.changed = True
        return rule is not None

    def apply_staged_writes(self) -> None:
        """What ``add_request`` has set goes to the device, in the order of its stream."""
        if not self.changed:
            return
        rules = torch.from_numpy(self._staged.copy())
        if self._device.type == "cuda":
            rules = rules.pin_memory()
        self._rules.copy_(rules, non_blocking=True)
        self.changed = False

    def apply(
        self, logits: torch.Tensor, slots: torch.Tensor, slots_np: np.ndarray[Any, Any], tokens: torch.Tensor,
        prompt_len: torch.Tensor, total_len: torch.Tensor,
    ) -> None:  # fmt: skip
        """``logits``: [rows, vocabulary], changed in place. ``slots``: [rows], the slot of each row.

        ``tokens``: [slots, max_len], prompt and output of each; ``prompt_len``, ``total_len``: [slots].
        """
        if not self._staged[slots_np, 0].any():
            return
        if logits.is_cuda:
            from worker.engines.vllm_host.ngram_kernel import ban  # Triton is not there without a GPU

            ban(logits, slots, self._rules, tokens, prompt_len, total_len, self._history, self._copied)
        else:
            ban_twin(logits, slots, self._rules, tokens, prompt_len, total_len)


def ban_twin(
    logits: torch.Tensor, slots: torch.Tensor, rules: torch.Tensor, tokens: torch.Tensor, prompt_len: torch.Tensor,
    total_len: torch.Tensor,
) -> None:  # fmt: skip
    """The kernel's arithmetic in PyTorch, row by row."""
    for row, slot in enumerate(slots.tolist()):
        size, window, _, *allowed = rules[slot].tolist()
        output = tokens[slot, int(prompt_len[slot]) : int(total_len[slot])]
        length = len(output)
        if size == 0 or length < size:
            continue
        grams = output.unfold(0, size, 1)[max(0, length - window) :]
        same = (grams[:, :-1] == output[length - size + 1 :]).all(dim=1)
        found = grams[same, -1]
        found = found[~torch.isin(found, torch.tensor(allowed, dtype=found.dtype))]
        logits[row, found.long()] = -float("inf")
