"""What decides what a worker reads in a page, as one digest: workers with the same one read the same."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from shared.contract.worker_status import DIGEST_CHARACTERS, EngineStatus
from shared.version import VERSION
from worker.engines import choose, read_own, settings_of
from worker.settings import WorkerSettings

PICTURES: Final = frozenset(
    {"render_dpi", "render_max_side", "render_max_pixels", "keep_page_images", "page_image_quality"}
)
"""The worker's settings that decide what an engine is given, and which pictures are kept."""


def reader_digest(engine: EngineStatus, settings: WorkerSettings) -> str:
    """Of the engine, its model and version, this service's version, and the settings that change what is read."""
    own = read_own(settings_of(choose(settings)), settings)
    facts = {
        "engine": [engine.name, engine.model, engine.version],
        "service": VERSION,
        "pictures": settings.model_dump(mode="json", include=set(PICTURES)),
        "own": own.facts_of_reading(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:DIGEST_CHARACTERS]
