"""The n-gram rule for all rows of a step as one Triton kernel: token history on the device, nothing read back."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from worker.engines.vllm_host.ngram import WHITELIST


@triton.jit
def _ban_kernel(
    logits, logits_stride, slots, rules, tokens, tokens_stride, prompt_len, total_len,
    history, history_stride, copied, BLOCK: tl.constexpr, FIELDS: tl.constexpr, ALLOWED: tl.constexpr,
):  # fmt: skip
    """One program a row. ``rules``: size, window, generation and ALLOWED tokens of each slot.

    ``tokens`` lies in the host's memory: what is new in it since the slot's last step (one token, as a rule) is
    copied to ``history`` first, and only ``history`` is searched. ``copied``: for each slot how many tokens it holds,
    and of which generation.
    """
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    rule = rules + slot * FIELDS
    size = tl.load(rule)
    if size > 0:
        window = tl.load(rule + 1)
        generation = tl.load(rule + 2)
        begin = tl.load(prompt_len + slot)
        length = tl.load(total_len + slot) - begin
        source = tokens + slot * tokens_stride + begin
        output = history + slot * history_stride
        known = tl.load(copied + 2 * slot)
        known = tl.where(tl.load(copied + 2 * slot + 1) == generation, known, 0)
        known = tl.minimum(known, length)
        for start in range(known, length, BLOCK):
            at = start + tl.arange(0, BLOCK)
            tl.store(output + at, tl.load(source + at, mask=at < length, other=0), mask=at < length)
        tl.debug_barrier()
        tl.store(copied + 2 * slot, length)
        tl.store(copied + 2 * slot + 1, generation)
        if length >= size:
            last = length - size  # where the latest whole n-gram begins
            for start in range(tl.maximum(0, length - window), last + 1, BLOCK):
                at = start + tl.arange(0, BLOCK)
                same = at <= last
                for i in range(size - 1):
                    key = tl.load(output + last + 1 + i)
                    same = same & (tl.load(output + at + i, mask=same, other=-1) == key)
                token = tl.load(output + at + size - 1, mask=same, other=-1)
                for i in tl.static_range(ALLOWED):
                    same = same & (token != tl.load(rule + 3 + i))
                tl.store(logits + row * logits_stride + token, -float("inf"), mask=same)


def ban(
    logits: torch.Tensor, slots: torch.Tensor, rules: torch.Tensor, tokens: torch.Tensor, prompt_len: torch.Tensor,
    total_len: torch.Tensor, history: torch.Tensor, copied: torch.Tensor,
) -> None:  # fmt: skip
    """Set what each row's rule forbids to minus infinity. See ``ngram_rows.RuleRows`` for the shapes."""
    kernel: Any = _ban_kernel[(logits.shape[0],)]
    kernel(
        logits, logits.stride(0), slots, rules, tokens, tokens.stride(0), prompt_len, total_len,
        history, history.stride(0), copied, BLOCK=128, FIELDS=rules.stride(0), ALLOWED=WHITELIST, num_warps=4,
    )  # fmt: skip
