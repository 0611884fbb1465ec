"""The n-gram rule in model runner V2 of vLLM 0.25 to 0.30, whose sampler takes no logits processors.

A model's class may name a state of its own for the runner, and that state a sampler of its own: both are vLLM's hooks.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.worker.gpu.model_states.default import DefaultModelState
from vllm.v1.worker.gpu.sample.sampler import Sampler

from worker.engines.vllm_host.ngram_rows import RuleRows


class NGramSampler(Sampler):  # type: ignore[misc]
    """vLLM's sampler, and the rule after all else that changes logits: a token that is banned stays banned."""

    def __init__(self, plain: Any, max_model_len: int) -> None:
        states = plain.req_states
        super().__init__(
            states.max_num_reqs, states.vocab_size, states.device, states, plain.logprobs_mode,
            plain.num_speculative_tokens, plain.use_fp64_gumbel,
        )  # fmt: skip
        self._rows = RuleRows(states.max_num_reqs, max_model_len, states.device)

    def add_request(self, req_idx: int, prompt_len: int, sampling_params: Any) -> None:
        super().add_request(req_idx, prompt_len, sampling_params)
        self._rows.add_request(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        """Called every step. vLLM's own copies five arrays of all slots each time, 7 % of a lone page's step; what it
        copies changes in ``add_request`` only."""
        if self._rows.changed:
            super().apply_staged_writes()
            self._rows.apply_staged_writes()

    def apply_sampling_params(
        self, logits: torch.Tensor, expanded_idx_mapping: torch.Tensor, idx_mapping_np: Any, *args: Any, **more: Any
    ) -> torch.Tensor:
        processed: torch.Tensor = super().apply_sampling_params(
            logits, expanded_idx_mapping, idx_mapping_np, *args, **more
        )
        states = self.req_states
        self._rows.apply(
            processed, expanded_idx_mapping, idx_mapping_np, states.all_token_ids.gpu, states.prompt_len.gpu,
            states.total_len.gpu,
        )  # fmt: skip
        return processed


class NGramModelState(DefaultModelState):  # type: ignore[misc]
    def custom_sampler(self, sampler: Any) -> tuple[Any, Any]:
        return NGramSampler(sampler, self.max_model_len), None
