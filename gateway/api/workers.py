"""The workers as they report themselves to the store."""

from __future__ import annotations

from shared.contract.worker_status import WorkerStatus
from shared.store.jobs import Store


async def ready_workers(store: Store) -> list[WorkerStatus]:
    """Those whose engine takes pages now: not one that drains."""
    return [worker for worker in await store.workers() if worker.reads_pages]
