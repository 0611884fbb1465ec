"""What the class of a model takes from its host, in vLLM's own process."""

from __future__ import annotations

from worker.engines.vllm_host.model_runner import takes_v2_processors


class NGramRuled:
    """For the class of a model whose requests bring the n-gram rule: first among its bases."""

    if not takes_v2_processors():

        @staticmethod
        def get_model_state_cls() -> type:
            """vLLM's hook for a model's own state in its model runner V2."""
            from worker.engines.vllm_host.ngram_sampler import NGramModelState

            return NGramModelState
