"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel until they have ended: redis-py swallows a cancellation that comes while it connects."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.2)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen
