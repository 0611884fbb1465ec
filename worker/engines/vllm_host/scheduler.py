"""vLLM's scheduler, told by its ``scheduler_cls`` argument: pages in groups, tokens a few at a time.

*Admission.* Pages end one by one, so they would also begin one by one, and each would be encoded alone: 67 ms of an
H100 where eight together take 22 each. A page waits until a group is complete, for ``admission_seconds`` at most, and
only while the engine is busy: a lone page is admitted at once.

*Outputs.* Of each page the first token and the last go to the worker at once, those between ``stream_interval`` at a
time: every message costs both processes the same, whether it holds one token or four.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from worker.engines.vllm_host import patches

SHARE = 8
"""Pages in the engine for each one of a group that waits: what waiting costs is at most an eighth of the throughput."""


class AdmissionGroups:
    """When waiting requests may be admitted: by the number that waits and how long the first has waited."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size, self._seconds = size, seconds
        self._since: float | None = None

    def due(self, waiting: int, free: int, running: int, now: float) -> bool:
        """``free``: slots without a request. True if the next step may take requests in; then they count as taken."""
        complete = min(waiting, free) >= self._size
        if complete or not waiting or not free or running < self._size * SHARE:
            self._since = None
            return True
        self._since = now if self._since is None else self._since
        if now - self._since < self._seconds:
            return False
        self._since = None
        return True


class OutputBatches:
    """Tokens of requests that go on, held back until ``size`` of one request are together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[str, list[int]] = {}

    def ready(self, outputs: Iterable[Any]) -> list[Any]:
        """Those of a step's ``EngineCoreOutput`` that go out now, each with what was held of its request."""
        return [output for output in outputs if self._goes_out(output)]

    def _goes_out(self, output: Any) -> bool:
        held = self._held.get(output.request_id)
        if output.finish_reason is not None:
            self.forget([output.request_id])
        elif held is None:
            self._held[output.request_id] = []
        if held is None:
            return True
        held.extend(output.new_token_ids)
        if output.finish_reason is None and len(held) < self._size and _is_tokens_alone(output):
            return False
        output.new_token_ids = held
        if output.finish_reason is None:
            self._held[output.request_id] = []
        return True

    def forget(self, request_ids: Iterable[str] | None) -> None:
        """Of requests that end without an output; None: of all."""
        if request_ids is None:
            self._held.clear()
        else:
            for request_id in request_ids:
                self._held.pop(request_id, None)


def _is_tokens_alone(output: Any) -> bool:
    return output.new_logprobs is None and output.new_prompt_logprobs_tensors is None and not output.events


class PageScheduling:
    """For vLLM's schedulers. ``additional_config`` holds ``admission_pages`` and ``admission_seconds``."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        given = self.vllm_config.additional_config  # type: ignore[attr-defined]
        self._groups = AdmissionGroups(given["admission_pages"], given["admission_seconds"])
        self._batches = OutputBatches(self.vllm_config.scheduler_config.stream_interval)  # type: ignore[attr-defined]
        self._limit = patches.admission_limit(self)
        patches.allocate_only_new_blocks(self.kv_cache_manager)  # type: ignore[attr-defined]

    def schedule(self, *args: Any, **more: Any) -> Any:
        limit = getattr(self, self._limit)
        waiting, running = len(self.waiting), len(self.running)  # type: ignore[attr-defined]
        if self._groups.due(waiting, limit - running, running, monotonic()):
            return super().schedule(*args, **more)  # type: ignore[misc]
        setattr(self, self._limit, running)
        try:
            return super().schedule(*args, **more)  # type: ignore[misc]
        finally:
            setattr(self, self._limit, limit)

    def update_from_output(self, *args: Any, **more: Any) -> Any:
        messages = super().update_from_output(*args, **more)  # type: ignore[misc]
        for message in messages.values():
            message.outputs = self._batches.ready(message.outputs)
        return messages

    def finish_requests(self, request_ids: Any, *args: Any, **more: Any) -> Any:
        ids = [request_ids] if isinstance(request_ids, str) else request_ids and list(request_ids)
        self._batches.forget(ids)
        return super().finish_requests(ids, *args, **more)  # type: ignore[misc]


class PageScheduler(PageScheduling, Scheduler):  # type: ignore[misc]
    """Without async scheduling."""


class AsyncPageScheduler(PageScheduling, AsyncScheduler):  # type: ignore[misc]
    """With it."""
