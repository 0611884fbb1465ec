"""The model's output, read while it is written.

Output is text with markers ``<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>``; what follows a marker, up to the
next one, belongs to it. ``Parser`` takes the output in pieces of any size and gives the same events for any cutting:
``Marker`` for a marker, ``Text`` for text. Half a tag is held back until it is whole or proves to be text.

Nothing is evaluated and nothing raises. The model breaks some markers, mostly in the list of boxes: a label that names
a kind of block is a marker all the same, with the boxes that can be told, and no part of a list is ever text. A label
that names none is itself text of the page, and so is every label where the prompt asked for text (``kinds=False``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from deepseek_ocr import boxes, labels, tokens
from deepseek_ocr.boxes import Box
from deepseek_ocr.tokens import DET, DET_END, MARKUP, REF, REF_END

MAX_LABEL = 2000
MAX_BOXES = 20_000
"""Characters after which a label or a list of boxes that has not ended is taken for text."""

_TAG = re.compile("|".join(re.escape(tag) for tag in MARKUP))
_LONGEST = max(map(len, MARKUP))
_NO_BOXES = re.compile(r"[^\s\[\]0-9,.\-]")


@dataclass(frozen=True, slots=True)
class ParsedText:
    text: str


@dataclass(frozen=True, slots=True)
class Marker:
    """``boxes`` are the model's own numbers, 0 to 999; ``deepseek_ocr.boxes.to_pixels`` turns them into pixels.

    ``label`` is one of ``LABELS``, or else text of the page (``is_text``), which then has boxes of its own.
    """

    label: str
    boxes: tuple[Box, ...]
    is_text: bool = field(default=False, compare=False)


Event = ParsedText | Marker


class _State(Enum):
    TEXT = auto()
    LABEL = auto()
    BETWEEN = auto()
    BOXES = auto()


@dataclass(slots=True)
class Parser:
    """Feed it deltas, then call ``finish`` once. ``kinds``: labels may name kinds of blocks, else all are text."""

    kinds: bool = True
    _held: str = ""
    _state: _State = _State.TEXT
    _label: str | None = None
    _parts: list[str] = field(default_factory=list)
    _size: int = 0
    _lines: bool = False

    def feed(self, delta: str) -> list[Event]:
        """Events that are certain after ``delta``."""
        return _joined(self._read(delta, last=False))

    def finish(self) -> list[Event]:
        """What was held back: the output ends here."""
        return _joined((*self._read("", last=True), *self._end()))

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
        match self._state:
            case _State.TEXT:
                yield ParsedText(text)
            case _State.BETWEEN:
                self._parts.append(text)
                if below := self._taken().strip() and self._taken():
                    yield from self._unclosed()
                    yield ParsedText(below)
            case _:
                yield from self._collect(text)

    def _collect(self, text: str) -> Iterator[Event]:
        self._parts.append(text)
        self._size += len(text)
        end = self._ran_on(text)
        self._lines = self._lines or "\n" in text
        limit = MAX_LABEL if self._state is _State.LABEL else MAX_BOXES
        if end is not None:
            yield from self._unclosed(min(end, limit))
        elif self._size > limit:
            yield from self._unclosed(limit)

    def _ran_on(self, text: str) -> int | None:
        """Where a label or a list with a line end in it has run into the page's text, if it has.

        ``text`` is the newest part; of a list only that is looked at, for a list may be long and come sign by sign.
        """
        if not self._lines and "\n" not in text:
            return None
        if self._state is _State.LABEL:
            return len(self._taken()) if self.kinds and labels.has_run_on(self._taken()) else None
        found = _NO_BOXES.search(text, 0 if self._lines else text.index("\n"))
        return self._size - len(text) + found.start() if found else None

    def _tag(self, tag: str) -> Iterator[Event]:
        match (self._state, tag):
            case (_State.LABEL, tokens.REF_END):
                self._state, self._label = _State.BETWEEN, self._taken()
                self._clear()
            case (_State.BETWEEN | _State.TEXT, tokens.DET):
                self._state = _State.BOXES
                self._clear()
            case (_State.BOXES, tokens.DET_END):
                yield from self._close()
            case _:
                yield from self._unclosed()
                self._state = _State.LABEL if tag == REF else _State.TEXT

    def _close(self) -> Iterator[Event]:
        """The list of boxes has its end."""
        if not boxes.is_list(self._taken()):
            yield from self._unclosed()
            return
        yield from self._marker(boxes.loose_boxes(self._taken()))
        self._reset()

    def _unclosed(self, end: int | None = None) -> Iterator[Event]:
        """A label or a list ends without its tag, at ``end`` at the latest, or a label is followed by no list."""
        match self._state:
            case _State.LABEL:
                yield from self._unclosed_label(self._taken())
            case _State.BETWEEN:
                yield from self._marker(())
            case _State.BOXES:
                found, text = boxes.split_unclosed(self._taken()[:end])
                yield from self._marker(found)
                if end is not None:
                    text += self._taken()[end:]
                if text:
                    yield ParsedText(text)
        self._reset()

    def _unclosed_label(self, label: str) -> Iterator[Event]:
        found = labels.split_unclosed(label) if self.kinds else None
        if found:
            yield Marker(found[0], ())
        if text := found[1] if found else label:
            yield ParsedText(text)

    def _end(self) -> Iterator[Event]:
        """The output ends: a marker that was cut is no text."""
        if self._state is _State.LABEL and self.kinds and labels.may_become_kind(self._taken()):
            self._reset()
        yield from self._unclosed()

    def _marker(self, found: tuple[Box, ...]) -> Iterator[Event]:
        if self._label is None:
            return
        kind = labels.kind_of(self._label) if self.kinds else None
        if kind:
            yield Marker(kind, found)
        elif found:
            yield Marker(self._label, found, is_text=True)
        elif self._label:
            yield ParsedText(self._label)

    def _taken(self) -> str:
        return "".join(self._parts)

    def _clear(self) -> None:
        self._parts, self._size, self._lines = [], 0, False

    def _reset(self) -> None:
        self._state, self._label = _State.TEXT, None
        self._clear()


def parse(output: str, *, kinds: bool = True) -> list[Event]:
    """The events of a whole output."""
    parser = Parser(kinds)
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
        if isinstance(event, ParsedText) and found and isinstance(found[-1], ParsedText):
            found[-1] = ParsedText(found[-1].text + event.text)
        else:
            found.append(event)
    return found
