"""A guard for outputs that count: the n-gram rule forbids the model to repeat itself, so it goes round with numbers.

``0 0 0 0 350 0 0 0 0 351 …``, ``Col818|Col819|…``, empty markers that walk down the page: the same text over and over,
with numbers in constant steps. Such a page runs to its last token and says nothing more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice, pairwise
from operator import itemgetter

ROUNDS = 8
LENGTH = 1200
"""Characters; at 600 a padded table of a specification is taken for a loop."""

MAX_PERIOD = 420
STEADY = 0.8
"""Share of the steps of each number that must be the same."""

PATIENCE = 4
"""Times the length for rows that hold nothing but numbers: a form may have many numbered, empty rows."""

WINDOW = 6000
STRIDE = 1000
KEY = 24

_DIGITS = b"0123456789"
_NUMBER = re.compile(r"[0-9]+")
_CELLS = re.compile(r"(?:</?t[dr]>|\|)(?:</?t[dr]>|[|\s0])+")
_CUT = re.compile(r"\A[^<|]*|<[^<>]*\Z")
_WALL = 4
_OFTEN = 12
_RECENT = 400


@dataclass(slots=True)
class CountingGuard:
    """Takes the output's text as it comes. Looks once every ``stride`` characters: under a microsecond a token."""

    stride: int = STRIDE
    _tail: str = ""
    _new: list[str] = field(default_factory=list)
    _unseen: int = 0

    def feed(self, text: str) -> bool:
        """True once the output counts."""
        self._new.append(text)
        self._unseen += len(text)
        if self._unseen < self.stride:
            return False
        self._tail = "".join((self._tail, *self._new))[-WINDOW * PATIENCE :]
        self._new.clear()
        self._unseen = 0
        return counts(self._tail[-WINDOW:], self._tail)


def counts(text: str, longer: str | None = None) -> bool:
    """Does ``text`` end in rounds that differ in their numbers, and those in constant steps?

    ``longer``: ends in ``text``; rows without words must fill more of it.
    """
    bare = text.encode().translate(None, _DIGITS)
    if _period(bare, max(2, ROUNDS // 2)) is None:
        return False  # most texts end here
    return _counts(text) and (not _only_cells(text) or longer is None or _fills(longer))


def _only_cells(text: str) -> bool:
    return _CELLS.fullmatch(_CUT.sub("", _NUMBER.sub("0", text[-LENGTH:]))) is not None


def _fills(text: str) -> bool:
    return _run(_NUMBER.sub("0", text).encode())[1] >= LENGTH * PATIENCE and _counts(text)


def _counts(text: str) -> bool:
    signs = _NUMBER.sub("0", text).encode()
    period, length = _run(signs)
    run = signs[-length:] if length else b""
    numbers = _NUMBER.findall(text)[-run.count(b"0") or len(text) :]
    if not numbers or length + sum(map(len, numbers)) - len(numbers) < LENGTH:
        return False
    # A number that was begun before the run, or has not ended, would be a step of its own.
    values = [int(number[-9:]) for number in numbers[1:-1]]
    in_round = max(1, signs[-period:].count(b"0"))
    if period <= _WALL and _climbs(values[-_RECENT:]):
        return True
    rounds = range(in_round, min(len(numbers) // ROUNDS, MAX_PERIOD) + 1, in_round)
    return any(_steady(values, lag) for lag in rounds)


def _climbs(values: Sequence[int]) -> bool:
    """Numbers and nothing between them: do those that are not said all the time go up in one step?"""
    said = Counter(values)
    rare = [value for value, _ in groupby(values) if said[value] * _OFTEN < len(values)]
    steps = Counter(b - a for a, b in pairwise(rare))
    if steps.total() < 3 * ROUNDS:
        return False
    step, often = _commonest(steps)
    return step != 0 and often >= STEADY * steps.total()


def _run(signs: bytes) -> tuple[int, int]:
    """The shortest period that ``signs`` ends in, and how many of its last bytes keep to it."""
    period = _period(signs, 2)
    if period is None:
        return 0, 0
    # How far does the text agree with itself one period earlier? Halving finds it with a few comparisons of memory.
    shifted, agreed, too_far = signs[:-period], 0, len(signs) - period + 1
    while too_far - agreed > 1:
        middle = (agreed + too_far) // 2
        same = signs[-middle:] == shifted[-middle:]
        agreed, too_far = (middle, too_far) if same else (agreed, middle)
    return period, agreed + period


def _period(signs: bytes, rounds: int) -> int | None:
    """The shortest period in bytes of which ``signs`` ends in so many rounds."""
    key, end = signs[-KEY:], len(signs) - 1
    start = max(0, len(signs) - KEY - MAX_PERIOD)
    while (at := signs.rfind(key, start, end)) >= 0:
        period = len(signs) - KEY - at
        size = rounds * period
        if size <= len(signs) and signs[-size:-period] == signs[-size + period :]:
            return period
        end = at + KEY - 1
    return None


def _commonest(steps: Counter[int]) -> tuple[int, int]:
    """A step, and how often it is taken. (``most_common`` loads a module when it is first called.)"""
    return max(steps.items(), key=itemgetter(1))


def _steady(values: Sequence[int], lag: int) -> bool:
    """Do the numbers of every place in a round go up, or stay, in steps of their own? At least one must move."""
    moving = False
    for place in range(lag):
        own = values[len(values) - 1 - place :: -lag]
        steps = Counter(a - b for a, b in zip(own, islice(own, 1, None), strict=False))
        step, often = _commonest(steps)
        if often < STEADY * steps.total() or steps.total() < ROUNDS - 2:
            return False
        moving = moving or step != 0
    return moving
