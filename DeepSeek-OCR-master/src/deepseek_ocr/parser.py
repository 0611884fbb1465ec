"""The model's output, read while it is written.

Output is text with markers ``<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>``; what follows a marker, up to the
next one, belongs to it. ``Parser`` takes the output in pieces of any size and gives the same events for any cutting:
``Marker`` for a whole marker, ``Text`` for text. Half a tag is held back until it is whole or proves to be text.

Nothing is evaluated and nothing raises. A marker that is not well formed loses its tags and keeps its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from deepseek_ocr import tokens
from deepseek_ocr.boxes import Box, parse_boxes
from deepseek_ocr.tokens import DET, DET_END, MARKUP, REF, REF_END

MAX_LABEL = 2000
MAX_BOXES = 20_000
"""Characters after which a label or a list of boxes that has not ended is taken for text."""

_TAG = re.compile("|".join(re.escape(tag) for tag in MARKUP))
_LONGEST = max(map(len, MARKUP))


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Marker:
    """``boxes`` are the model's own numbers, 0 to 999; ``deepseek_ocr.boxes.to_pixels`` turns them into pixels."""

    label: str
    boxes: tuple[Box, ...]


Event = Text | Marker


class _State(Enum):
    TEXT = auto()
    LABEL = auto()
    BETWEEN = auto()
    BOXES = auto()


@dataclass(slots=True)
class Parser:
    """Feed it deltas, then call ``finish`` once."""

    _held: str = ""
    _state: _State = _State.TEXT
    _label: list[str] = field(default_factory=list)
    _boxes: list[str] = field(default_factory=list)
    _size: int = 0

    def feed(self, delta: str) -> list[Event]:
        """Events that are certain after ``delta``."""
        return _joined(self._read(delta, last=False))

    def finish(self) -> list[Event]:
        """What was held back: the output ends here."""
        return _joined((*self._read("", last=True), *self._give_up()))

    def _read(self, delta: str, *, last: bool) -> Iterator[Event]:
        whole, start = self._held + delta, 0
        for tag in _TAG.finditer(whole):
            yield from self._text(whole[start : tag.start()])
            yield from self._tag(tag.group())
            start = tag.end()
        end = len(whole) if last else _safe_end(whole, start)
        self._held = whole[end:]
        yield from self._text(whole[start:end])

    def _text(self, text: str) -> Iterator[Event]:
        if not text:
            return
        if self._state is _State.LABEL:
            yield from self._collect(self._label, text, MAX_LABEL)
        elif self._state is _State.BOXES:
            yield from self._collect(self._boxes, text, MAX_BOXES)
        else:
            yield from self._give_up()
            yield Text(text)

    def _collect(self, into: list[str], text: str, limit: int) -> Iterator[Event]:
        into.append(text)
        self._size += len(text)
        if self._size > limit:
            yield from self._give_up()

    def _tag(self, tag: str) -> Iterator[Event]:
        match (self._state, tag):
            case (_State.LABEL, tokens.REF_END):
                self._state = _State.BETWEEN
            case (_State.BETWEEN, tokens.DET):
                self._state, self._size = _State.BOXES, 0
            case (_State.BOXES, tokens.DET_END):
                yield from self._close()
            case _:
                yield from self._give_up()
                self._state = _State.LABEL if tag == REF else _State.TEXT

    def _close(self) -> Iterator[Event]:
        boxes = parse_boxes("".join(self._boxes))
        if boxes is None:
            yield from self._give_up()
        else:
            yield Marker("".join(self._label), boxes)
            self._reset()

    def _give_up(self) -> Iterator[Event]:
        """What looked like a marker is text."""
        text = "".join((*self._label, *self._boxes))
        self._reset()
        if text:
            yield Text(text)

    def _reset(self) -> None:
        self._state = _State.TEXT
        self._label, self._boxes, self._size = [], [], 0


def parse(output: str) -> list[Event]:
    """The events of a whole output."""
    parser = Parser()
    return _joined((*parser.feed(output), *parser.finish()))


def marker(label: str, boxes: tuple[Box, ...]) -> str:
    """The marker as the model writes it: what ``parse`` reads back."""
    return f"{REF}{label}{REF_END}{DET}{[list(box) for box in boxes]}{DET_END}"


def _safe_end(text: str, start: int) -> int:
    """Where the tail begins that could still become a tag."""
    for at in range(max(start, len(text) - _LONGEST + 1), len(text)):
        if text[at] == "<" and any(tag.startswith(text[at:]) for tag in MARKUP):
            return at
    return len(text)


def _joined(events: Iterator[Event] | tuple[Event, ...]) -> list[Event]:
    found: list[Event] = []
    for event in events:
        if isinstance(event, Text) and found and isinstance(found[-1], Text):
            found[-1] = Text(found[-1].text + event.text)
        else:
            found.append(event)
    return found
