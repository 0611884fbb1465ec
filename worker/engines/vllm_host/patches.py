"""Every place where hosting vLLM leans on a part that vLLM does not promise, and what is changed in it.

Each entry: what, why, and until when. What vLLM offers for such ends (``worker_extension_cls``, ``scheduler_cls``,
``logits_processors``, ``additional_config``, the plugin entry point, ``custom_sampler`` of a model's state) is not in
the list.
"""

from __future__ import annotations

from typing import Any

from vllm.renderers import hf


def share_one_tokenizer() -> None:
    """Let vLLM's renderer use one tokenizer instead of deep copies of it.

    What: ``vllm.renderers.hf.maybe_make_thread_pool`` returns the tokenizer it is given. Why: the copies, for threads
    that render prompts, take seconds of every start, and our prompts come rendered. Until: vLLM makes them when they
    are first used, or takes zero of them as an argument.
    """
    hf.maybe_make_thread_pool = lambda tokenizer, copies=1: tokenizer


def admission_limit(scheduler: Any) -> str:
    """The scheduler's attribute that caps the requests it takes in.

    What: ``PageScheduling.schedule`` lowers it for one step. Why: vLLM's schedulers have no method that says whether
    waiting requests are to be admitted. Until: they have one.
    """
    return "max_num_active_reqs" if hasattr(scheduler, "max_num_active_reqs") else "max_num_running_reqs"


def allocate_only_new_blocks(manager: Any) -> None:
    """Let a request that needs no new block of the KV cache go on without asking for one.

    What: ``KVCacheManager.allocate_slots`` of this instance answers at once for one more token of a request whose last
    block has room. Why: in 15 of 16 steps nothing is to be done for a request, and asking costs 5 µs of the
    scheduler's thread for each of 512. Only where one manager holds all blocks, prefix caching is off and nothing else
    is asked for; else vLLM's own answer stands. Until: vLLM asks itself first whether a block is needed.
    """
    managers = manager.coordinator.single_type_managers
    if len(managers) != 1 or manager.enable_caching or type(managers[0]).__name__ != "FullAttentionManager":
        return
    held, block_size, plain = managers[0].req_to_blocks, managers[0].block_size, manager.allocate_slots

    def allocate_slots(request: Any, num_new_tokens: int, *args: Any, **more: Any) -> Any:
        blocks = held.get(request.request_id)
        room = len(blocks) * block_size - request.num_computed_tokens if blocks else 0
        if num_new_tokens == 1 and room > 0 and not args and not any(more.values()):
            return manager.empty_kv_cache_blocks
        return plain(request, num_new_tokens, *args, **more)

    manager.allocate_slots = allocate_slots
