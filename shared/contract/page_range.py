"""The form field ``pages``: ``1-3,7``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from shared.errors import BadPageRange

MAX_LENGTH = 20_000  # characters: more than 2,000 pages need, named one by one
_PART = re.compile(r"(\d{1,7})(?:\s*-\s*(\d{1,7}))?", re.ASCII)


def parse(text: str, pages: int) -> tuple[int, ...]:
    """The page numbers of ``1-3,7``, ascending, each once; every one must exist in a document of ``pages`` pages."""
    if len(text) > MAX_LENGTH:
        raise BadPageRange(f"the page range has {len(text)} characters; at most {MAX_LENGTH} are accepted")
    chosen: set[int] = set()
    for part in text.split(","):
        chosen.update(_part(part.strip(), pages))
    return tuple(sorted(chosen))


def _part(part: str, pages: int) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise BadPageRange(f"{part[:40]!r} is no page range; write for instance 1-3,7")
    first = int(match[1])
    last = int(match[2] or first)
    if first > last:
        raise BadPageRange(f"{part}: start is after end")
    if first < 1 or last > pages:
        raise BadPageRange(f"{part} is not within the document's pages 1-{pages}")
    return range(first, last + 1)


def compact(numbers: Iterable[int]) -> str:
    """``(1, 2, 3, 7)`` -> ``1-3,7``; the inverse of ``parse``."""
    ordered = enumerate(sorted(set(numbers)))
    runs = (tuple(number for _, number in run) for _, run in groupby(ordered, key=lambda pair: pair[1] - pair[0]))
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
