"""The n-gram rule as a logits processor of model runner V2 (vLLM 0.31 and later), in vLLM's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from worker.engines.vllm_host.ngram import rule_of

if TYPE_CHECKING:
    import torch


class NoRepeatNGram(LogitsProcessor):  # type: ignore[misc]
    """Also imported by the process that validates requests, so it imports nothing of the model runner's."""

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        rule_of(sampling_params.extra_args)

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        from worker.engines.vllm_host.ngram_rows import RuleRows

        self._states = req_states
        self._rows = RuleRows(req_states.max_num_reqs, vllm_config.model_config.max_model_len, req_states.device)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        return self._rows.add_request(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        self._rows.apply_staged_writes()

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        states = self._states
        self._rows.apply(
            logits, ctx.expanded_idx_mapping, ctx.idx_mapping_np, states.all_token_ids.gpu, states.prompt_len.gpu,
            states.total_len.gpu,
        )  # fmt: skip
        return logits
