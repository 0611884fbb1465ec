"""Every place where hosting vLLM leans on a part that vLLM does not promise, and what is changed in it.

Each entry: what, why, and until when. What vLLM offers for such ends (``worker_extension_cls``, ``scheduler_cls``,
``logits_processors``, ``additional_config``, the plugin entry point, ``custom_sampler`` of a model's state) is not in
the list.
"""

from __future__ import annotations

from vllm.renderers import hf


def share_one_tokenizer() -> None:
    """Let vLLM's renderer use one tokenizer instead of deep copies of it.

    What: ``vllm.renderers.hf.maybe_make_thread_pool`` returns the tokenizer it is given. Why: the copies, for threads
    that render prompts, take seconds of every start, and our prompts come rendered. Until: vLLM makes them when they
    are first used, or takes zero of them as an argument.
    """
    hf.maybe_make_thread_pool = lambda tokenizer, copies=1: tokenizer
