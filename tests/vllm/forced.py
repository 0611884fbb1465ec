"""The engine of test_service: the real one, which says what a file holds. ``ENGINE=tests.vllm.forced:load``.

``OCR_TEST_ANSWERS`` names a JSON list of answers; each request takes the next one, and all later ones the last.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from worker.engines.deepseek_ocr import load as load_engine
from worker.engines.vllm_host.settings import VllmSettings

SETTINGS = VllmSettings


def answers() -> list[str]:
    found: list[str] = json.loads(Path(os.environ["OCR_TEST_ANSWERS"]).read_text(encoding="utf-8"))
    return found


async def load(settings: VllmSettings) -> Any:
    engine = await load_engine(settings)
    left, tokenizer, plain = answers(), engine.model.inputs._tokenizer, engine.sampling

    def sampling(*args: Any, **more: Any) -> Any:
        params = plain(*args, **more)
        answer = left.pop(0) if len(left) > 1 else left[0]
        ids = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
        params.extra_args = {**(params.extra_args or {}), "force_ids": ids}
        return params

    engine.sampling = sampling  # type: ignore[method-assign]
    return engine
