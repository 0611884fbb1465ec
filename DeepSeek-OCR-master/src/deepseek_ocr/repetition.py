"""Loops: the rule that steers the model out of short ones, and a guard that notices the long ones.

The rule runs inside the engine and forbids a token that would repeat an n-gram of the last ``window`` tokens; it
reaches loops of up to ``window - size + 1`` tokens. The guard reads the tokens that came out and says when to stop;
``counting`` has one for outputs that count, which repeat no token for token.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from deepseek_ocr.tokens import TABLE


@dataclass(frozen=True, slots=True)
class NGramRule:
    """``whitelist``: tokens, by their text, that may always repeat (empty table cells do)."""

    size: int
    window: int
    whitelist: tuple[str, ...] = TABLE[:2]

    def extra_args(self, ids: Iterable[int]) -> dict[str, int | list[int]]:
        """``SamplingParams.extra_args`` of vLLM's own processor; ``ids``: the whitelist's, a list (it is pickled)."""
        return {"ngram_size": self.size, "window_size": self.window, "whitelist_token_ids": list(ids)}


NGRAM = NGramRule(size=30, window=90)
"""The published setting."""

STRONGER = NGramRule(size=30, window=256)
"""For a second try: loops of up to 227 tokens. At a size of 20 it forbids true tokens on four times as many pages."""


@dataclass(slots=True)
class RepetitionGuard:
    """Notices an output that ends in the same ``period`` tokens over and over.

    A loop is at least ``times`` rounds and ``tokens`` tokens; made of ``patient`` tokens alone (empty table cells),
    ``patience`` times as many. ``feed`` costs a few microseconds: it looks once every ``stride`` tokens.
    """

    times: int = 4
    tokens: int = 256
    max_period: int = 768
    patient: frozenset[int] = frozenset()
    patience: int = 8
    stride: int = 32
    _ids: array[int] = field(default_factory=lambda: array("q"))
    _unseen: int = 0

    def feed(self, ids: Iterable[int]) -> bool:
        """True once the output loops."""
        before = len(self._ids)
        self._ids.extend(ids)
        self._unseen += len(self._ids) - before
        if self._unseen < self.stride or len(self._ids) < self.tokens:
            return False
        self._unseen = 0
        return self.period() is not None

    def period(self) -> int | None:
        """The length in tokens of the loop the output ends in, if it does."""
        tail = self._ids[-(self.tokens + self.max_period * self.patience * self.times) :]
        data, width = tail.tobytes(), tail.itemsize
        key = data[-self.stride * width :]
        end = len(data) - width
        while (at := data.rfind(key, max(0, len(data) - len(key) - self.max_period * width), end)) >= 0:
            distance = len(data) - len(key) - at
            if distance % width == 0 and self._loops(data, distance, width):
                return distance // width
            end = at + len(key) - 1
        return None

    def _loops(self, data: bytes, distance: int, width: int) -> bool:
        """Does ``data`` end in enough rounds of its last ``distance`` bytes?"""
        size = max(self.times * distance, self.tokens * width)
        if self.patient.issuperset(array("q", data[-distance:])):
            size *= self.patience
        return size <= len(data) and data[-size:-distance] == data[-size + distance :]
