"""Boxes: a strict grammar for ``[[x1, y1, x2, y2], …]`` (0 to 999 of the page's own width and height) and pixels."""

from __future__ import annotations

import re

SCALE = 999
MAX_LOOSE = 64
"""Numbers in a list that breaks the grammar; more of them are no boxes."""

Box = tuple[int, int, int, int]

_NUMBER = r"\s*(-?[0-9]{1,6})\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_LIST = re.compile(rf"\[\s*{_BOX.pattern}(?:\s*,\s*{_BOX.pattern})*\s*\]")
_INTEGER = re.compile(r"(?<![0-9.])-?[0-9]{1,6}(?![0-9.])")
_START = re.compile(r"\s*(?:\[\[?[^\[\]<>{}\\\n]{0,40}\]\]?(?=\s|$)|[\[\]0-9 ,.\-]*)")
_PART = re.compile(r"[\[\]0-9\s,.\-]+")
MAX_JUNK = 40
"""Characters in a closed list that are no part of a box; more of them are the page's text, and the list has no end."""


def parse_boxes(text: str) -> tuple[Box, ...] | None:
    """The boxes of a well-formed list of at least one, else None. Integers only, nothing is evaluated."""
    if not _LIST.fullmatch(text.strip()):
        return None
    return tuple((int(x1), int(y1), int(x2), int(y2)) for x1, y1, x2, y2 in _BOX.findall(text))


def loose_boxes(text: str) -> tuple[Box, ...]:
    """The boxes of any list: its integers in fours (``[[114 821, 880, 873]]``); none if they are too few or many."""
    if strict := parse_boxes(text):
        return strict
    numbers = [int(number) for number in _INTEGER.findall(text)]
    if len(numbers) > MAX_LOOSE:
        return ()
    fours = zip(*[iter(numbers)] * 4, strict=False)
    return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in fours)


def is_list(text: str) -> bool:
    """Can what stands between the two tags be a list of boxes, a broken one too? Else text has run into it."""
    return len(_PART.sub("", text)) <= MAX_JUNK


def split_unclosed(text: str) -> tuple[tuple[Box, ...], str]:
    """The boxes of a list that has no end, and the text that follows it."""
    found = _START.match(text)
    end = found.end() if found else 0
    return loose_boxes(text[:end]), text[end:]


def to_pixels(box: Box, width: int, height: int) -> Box:
    """A model's box in pixels of the page it saw: clamped, corners in order, at least one pixel each way."""
    x1, x2 = _interval(box[0], box[2], width)
    y1, y2 = _interval(box[1], box[3], height)
    return (x1, y1, x2, y2)


def union(boxes: tuple[Box, ...]) -> Box:
    """The smallest box around all of them."""
    return (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))


def _interval(start: int, end: int, length: int) -> tuple[int, int]:
    low, high = (min(max(value, 0), SCALE) * length // SCALE for value in sorted((start, end)))
    low = min(low, length - 1)
    return low, max(high, low + 1)
