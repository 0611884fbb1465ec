"""Is the engine alive? Three ways to die: it says so, its process is gone without a word, or it stands still."""

from __future__ import annotations

import asyncio
import logging
import math
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from vllm.v1.engine.exceptions import EngineDeadError

from shared.errors import EngineDead
from worker.engines.vllm_host import core_failure

logger = logging.getLogger(__name__)

TICK = 0.5


class Liveness:
    """``processes``: vLLM's own, children of this one. ``stall``: seconds without a token while pages are read.

    While the engine starts it may take its time (kernels are compiled): ``stall`` is set once it has shown its work.
    """

    def __init__(self, engine: Any, processes: list[BaseProcess]) -> None:
        self._engine, self._processes, self.stall = engine, processes, math.inf
        self._reading = 0
        self._progress = monotonic()
        self._task = asyncio.create_task(self._run())
        self.died: str | None = None

    # -- told by the pages that are being read

    def began(self) -> None:
        if not self._reading:
            self._progress = monotonic()
        self._reading += 1

    def ended(self) -> None:
        self._reading -= 1

    def progressed(self) -> None:
        self._progress = monotonic()

    @property
    def reading(self) -> int:
        """Pages the engine has."""
        return self._reading

    # -- asked

    async def check(self) -> None:
        """Raise ``EngineDead`` if the engine has died."""
        if self.died is None:
            try:
                await self._engine.check_health()
            except EngineDeadError as error:
                self.declare_dead(f"vLLM: {error}")
        if self.died is None and not all(process.is_alive() for process in self._processes):
            self.declare_dead("vLLM's process has ended")
        if self.died is not None:
            raise EngineDead(self.died)

    def declare_dead(self, reason: str) -> EngineDead:
        """From now on no page is read. What is left of the engine is killed, so that no memory stays held."""
        if self.died is None:
            why = core_failure.kept()
            self.died = reason = f"{reason} ({why})" if why else reason
            logger.critical("the engine is dead: %s", reason)
            for process in self._processes:
                process.kill()
        return EngineDead(self.died)

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while self.died is None:
            before = monotonic()
            await asyncio.sleep(TICK)
            late = monotonic() - before - TICK
            self._progress += max(0.0, late)  # this loop stood still, not the engine
            if self._reading and monotonic() - self._progress > self.stall:
                self.declare_dead(f"no token for {self.stall:g} s while {self._reading} pages were read")
