"""The CPU engine: PP-OCRv6 through RapidOCR on onnxruntime, with page orientation, layout hints and reading order.

Everything it needs comes in Python packages: the extra ``cpu`` and ``requirements-models.lock``.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from worker.engines.cpu.settings import CpuSettings

if TYPE_CHECKING:
    from worker.engines.cpu.engine import CpuEngine
    from worker.engines.cpu.reader import Reader

# onnxruntime's wheels report home unless they are told not to before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SETTINGS = CpuSettings
MOST_THREADS = 16
"""Of the models that find lines and regions, as far as was measured."""


def build_reader(threads: int = 1) -> Reader:
    """Load all models; raises ``EngineNotReady`` where one is missing or not the one expected.

    ``threads``: that a page may take which is read alone.
    """
    # Not at the top: what puts text in order is in this package too, and other engines' workers have no onnxruntime.
    from worker.engines.cpu.layout import LayoutModel
    from worker.engines.cpu.reader import Models, Reader
    from worker.engines.cpu.recognition import TextModels
    from worker.engines.cpu.second_recogniser import installed

    text = TextModels()
    alone = Models(text.detecting_in(threads), LayoutModel(threads)) if threads > 1 else None
    return Reader(Models(text, LayoutModel()), installed(), alone=alone)


async def load(settings: CpuSettings) -> CpuEngine:
    from worker.engines.cpu.capacity import slots
    from worker.engines.cpu.engine import CpuEngine

    count = slots(settings.cpu_threads)
    reader = await asyncio.to_thread(build_reader, min(count, MOST_THREADS))
    return CpuEngine(reader, count, reader.more_languages)
