"""What is tried when a page does not end by itself: it loops, or it runs out of room.

Every step is a whole new reading; what was streamed before is void. The last one's text is kept, as ``degraded``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepseek_ocr.prompts import DOCUMENT, FREE_OCR, OTHER_IMAGE
from deepseek_ocr.repetition import NGRAM, STRONGER, NGramRule
from worker.engines.vllm_host.model import REPETITION

TEMPERATURES = (0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a page is read: the model's prompt, the rule against loops, the sampling temperature (0: greedy)."""

    prompt: str
    rule: NGramRule = NGRAM
    temperature: float = 0.0


def first(prompt: str) -> Attempt:
    return Attempt(prompt)


def after(prompt: str, reason: str) -> Iterator[Attempt]:
    """What to try next after the first attempt with ``prompt`` ended for ``reason``.

    A page that is simply too long for its tokens gets one try without the markup, which takes fewer; warmth would not
    shorten it. A caller's own prompt is never replaced.
    """
    free = prompt in (DOCUMENT, OTHER_IMAGE)
    if reason == REPETITION:
        yield Attempt(prompt, STRONGER)
    if free:
        yield Attempt(FREE_OCR, STRONGER)
    if reason == REPETITION:
        yield from (Attempt(prompt, STRONGER, temperature) for temperature in TEMPERATURES)
