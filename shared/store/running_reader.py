"""By what a page would be read now: the one digest that all workers report, where they agree."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from shared.contract.worker_status import WorkerStatus

KNOWN_SECONDS: Final = 1.0


class RunningReader:
    """``workers``: those that report now; they are asked for once in ``KNOWN_SECONDS``."""

    def __init__(self, workers: Callable[[], Awaitable[Sequence[WorkerStatus]]]) -> None:
        self._workers = workers
        self._asked, self._digest = -math.inf, ""

    async def digest(self) -> str:
        """Empty where no worker runs, or two would not read the same, or one is of a version that does not say."""
        if time.monotonic() - self._asked > KNOWN_SECONDS:
            digests = {worker.reader for worker in await self._workers()}
            self._asked, self._digest = time.monotonic(), digests.pop() if len(digests) == 1 else ""
        return self._digest
