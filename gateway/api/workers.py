"""The workers as they report themselves to the store."""

from __future__ import annotations

from typing import Any, Final

from shared.store.jobs import Store

READY: Final = frozenset({"ready", "busy"})


def is_ready(status: dict[str, Any]) -> bool:
    """Whether a worker reports that its engine reads pages."""
    return status.get("engine", {}).get("state", "ready") in READY


async def ready_workers(store: Store) -> list[dict[str, Any]]:
    return [status for status in await store.workers() if is_ready(status)]
