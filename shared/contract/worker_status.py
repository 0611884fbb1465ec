"""The worker's report of itself: what gateways hear of each worker and of its engine, every two seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shared.contract.document import Frozen

DIGEST_CHARACTERS: Final = 32
"""Of a digest in a record, in hexadecimal: 128 bits."""
ENGINE_STATES_THAT_READ: Final = frozenset({"ready", "busy"})
DRAINING: Final = "draining"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What ``/models``, ``/health`` and every job say of the engine.

    ``slots``: pages it can read at once. ``state``: starting, ready, busy (reads, and all slots may be taken) or dead.
    ``modes``, ``prompts``, ``max_prompt_chars``: what of a submission's options has an effect. ``max_image_size``:
    width and height in pixels. ``languages``: ISO 639-1 codes of those it reads whole, empty where nobody counted them.
    ``gpu_memory_used``: bytes, None without a GPU. ``metrics``: its own numbers, by name.
    """

    name: str
    model: str = ""
    slots: int = 0
    capabilities: tuple[str, ...] = ("document", "image")
    modes: tuple[str, ...] = ()
    prompts: bool = False
    languages: tuple[str, ...] = ()
    max_prompt_chars: int = 0
    max_image_size: tuple[int, int] = (6400, 6400)
    version: str = ""
    state: str = "ready"
    gpu_memory_used: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class WorkerStatus(Frozen):
    """One worker, as it last reported. ``started_at``: seconds since the epoch.

    ``draining``: an operator has it take nothing more (``Claims.report``). ``jobs``: jobs it holds. ``pages_rendered``:
    pages that have a render slot, ``pages_reading``: an engine slot, of ``slots``. ``reader``: digest of what decides
    what this worker reads in a page. Missing fields have a default, for workers of the version before report as well.
    """

    name: str
    started_at: float = 0.0
    draining: bool = False
    jobs: int = 0
    pages_rendered: int = 0
    pages_reading: int = 0
    slots: int = 0
    reader: str = ""
    engine: EngineStatus

    @property
    def reads_pages(self) -> bool:
        """Whether its engine takes pages now."""
        return self.state in ENGINE_STATES_THAT_READ

    @property
    def state(self) -> str:
        """Its engine's, or ``draining`` where the engine could read."""
        can_read = self.engine.state in ENGINE_STATES_THAT_READ
        return DRAINING if self.draining and can_read else self.engine.state
