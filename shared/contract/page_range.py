"""The form field ``pages``: ``1-3,7``, ``3-``, ``-1``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from shared.errors import BadPageRange

MAX_LENGTH: Final = 20_000  # characters: more than 2,000 pages need, named one by one
_PART: Final = re.compile(r"(?P<first>-?\d{1,7})(?:\s*(?P<dash>-)\s*(?P<last>-?\d{1,7})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chosen:
    """``numbers``: ascending, each once. ``note``: what was asked for and is not there; None where all of it is."""

    numbers: tuple[int, ...]
    note: str | None = None


def choose(text: str, pages: int) -> Chosen:
    """The pages that ``text`` names in a document of ``pages`` pages.

    ``3-`` goes on to the end, ``-1`` is the last page, ``-3-`` the last three. What lies beyond the end is left out,
    and the note says so. Raises ``BadPageRange`` for what is no range, and where no page is left.
    """
    if len(text) > MAX_LENGTH:
        raise BadPageRange(f"the page range has {len(text)} characters; at most {MAX_LENGTH} are accepted")
    chosen: set[int] = set()
    clipped = False
    for part in text.split(","):
        asked = _part(part.strip(), pages)
        there = range(max(asked.start, 1), min(asked.stop, pages + 1))
        clipped = clipped or len(there) < len(asked)
        chosen.update(there)
    if not chosen:
        raise BadPageRange(f"{text[:40]} names none of the document's pages 1-{pages}")
    return Chosen(tuple(sorted(chosen)), _note(pages) if clipped else None)


def parse(text: str, pages: int) -> tuple[int, ...]:
    """The page numbers alone."""
    return choose(text, pages).numbers


def _note(pages: int) -> str:
    return f"the document has {pages} page{'' if pages == 1 else 's'}; others that were asked for are left out"


def _part(part: str, pages: int) -> range:
    """The pages one part asks for, also those that the document has not."""
    match = _PART.fullmatch(part)
    if match is None:
        raise BadPageRange(f"{part[:40]!r} is no page range; write for instance 1-3,7 or 3- or -1")
    first = _from_the_start(match["first"], pages)
    last = _from_the_start(match["last"], pages) if match["last"] else max(first, pages) if match["dash"] else first
    if first > last:
        raise BadPageRange(f"{part}: the start is after the end")
    return range(first, last + 1)


def _from_the_start(text: str, pages: int) -> int:
    """``-1`` -> the last page. Raises ``BadPageRange`` for 0: pages count from 1."""
    number = int(text)
    if number == 0:
        raise BadPageRange("there is no page 0: pages count from 1")
    return number if number > 0 else pages + 1 + number


def compact(numbers: Iterable[int]) -> str:
    """``(1, 2, 3, 7)`` -> ``1-3,7``; the inverse of ``parse``."""
    ordered = enumerate(sorted(set(numbers)))
    runs = (tuple(number for _, number in run) for _, run in groupby(ordered, key=lambda pair: pair[1] - pair[0]))
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
