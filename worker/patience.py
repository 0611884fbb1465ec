"""Waiting for the payload store as long as a worker holds what it has read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import StoreUnavailable
from shared.tasks import pause_after

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def until_served(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Ask again while the payload store is away or full. Ends with the task: when the claim is lost, or the drain over.

    Without a limit of its own: a page that was read would only be read again.
    """
    failures = 0
    while True:
        try:
            answer = await ask()
        except StoreUnavailable as error:
            failures += 1
            if failures & (failures - 1) == 0:  # 1, 2, 4, 8, ...: an outage of hours is a few lines
                logger.warning("%s waits for the payload store (%d times so far): %s", what, failures, error)
        else:
            if failures:
                logger.info("%s goes on", what)
            return answer
        await asyncio.sleep(pause_after(failures))
