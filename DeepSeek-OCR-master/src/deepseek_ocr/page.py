"""One page: events become Markdown (as a stream) and blocks. What is streamed, joined, is the page's Markdown.

The blocks' texts, joined by blank lines, are that Markdown too. Text is given out by words while no rule acts on them,
else one line (or formula, or table) at a time; of the first block only its first words, for its end tells how the page
marks the ends of printed lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deepseek_ocr.boxes import Box, to_pixels, union
from deepseek_ocr.labels import CAPTIONS, LABELS
from deepseek_ocr.parser import Event, Marker, Parser
from deepseek_ocr.style import DEFAULT_STYLE, MarkdownStyle
from deepseek_ocr.writer import PARAGRAPH, BlockWriter, Written

__all__ = ["LABELS", "OutputBlock", "OutputFigure", "PageReader", "image_link"]

MIN_FIGURE = 3
"""Pixels each way below which a figure is a line that the model took for a picture."""


@dataclass(frozen=True, slots=True)
class OutputBlock:
    """``bbox`` in pixels of the page, the whole page where the model gave none. ``text`` is Markdown; of an ``image``
    it is its links."""

    label: str
    bbox: Box
    text: str


@dataclass(frozen=True, slots=True)
class OutputFigure:
    index: int
    bbox: Box


def image_link(index: int) -> str:
    """Where the ``index``-th figure of a page is said to be, unless a caller names another place."""
    return f"images/{index}.jpg"


@dataclass(slots=True)
class PageReader:
    """Reads one page of ``width`` x ``height`` pixels from deltas of the model's output.

    ``feed`` and ``finish`` return Markdown that is final; then ``markdown``, ``blocks`` and ``figures`` are complete.
    ``kinds``: labels may name kinds of blocks; False for a prompt whose labels are the page's text
    (``deepseek_ocr.prompts.labels_are_text``).
    """

    width: int
    height: int
    link: Callable[[int], str] = image_link
    style: MarkdownStyle = DEFAULT_STYLE
    kinds: bool = True
    figures: list[OutputFigure] = field(default_factory=list)
    _parser: Parser = field(init=False)
    _opened: list[_Open] = field(default_factory=list)
    _current: _Open = field(init=False)
    _given: list[str] = field(default_factory=list)
    _spaced: bool | None = None

    def __post_init__(self) -> None:
        self._parser = Parser(self.kinds)
        self._current = _Open(None, (), self._writer(None))
        self._opened.append(self._current)

    def feed(self, delta: str) -> str:
        return "".join(self._take(self._parser.feed(delta)))

    def finish(self) -> str:
        return "".join((*self._take(self._parser.finish()), *self._end(self._current)))

    @property
    def markdown(self) -> str:
        return "".join(self._given)

    @property
    def blocks(self) -> tuple[OutputBlock, ...]:
        """In reading order, without those that have no text (pictures stay)."""
        whole = (0, 0, self.width, self.height)
        marked = any(opened.label for opened in self._opened)
        return tuple(block for opened in self._opened if marked for block in opened.blocks(whole))

    def _take(self, events: list[Event]) -> Iterator[str]:
        for event in events:
            if isinstance(event, Marker):
                yield from self._end(self._current)
                yield from self._open(event)
            else:
                yield from self._text(self._current, event.text)

    def _open(self, marker: Marker) -> Iterator[str]:
        boxes = tuple(to_pixels(box, self.width, self.height) for box in marker.boxes)
        label = "text" if marker.is_text else marker.label
        opened = _Open(label, boxes, self._writer(label), marker.is_text)
        self._opened.append(opened)
        self._current = opened
        if marker.is_text:
            yield from self._text(opened, marker.label)
        elif label == "image":
            links = "\n".join(filter(None, map(self._figure, boxes)))
            yield from self._give(opened, [Written(PARAGRAPH, links)] if links else [])

    def _figure(self, box: Box) -> str:
        if min(box[2] - box[0], box[3] - box[1]) < min(MIN_FIGURE, self.width, self.height):
            return ""
        known = next((figure for figure in self.figures if figure.bbox == box), None)
        if known is None:
            known = OutputFigure(len(self.figures), box)
            self.figures.append(known)
        return f"![]({self.link(known.index)})"

    def _writer(self, label: str | None) -> BlockWriter:
        return BlockWriter(label, self.style, bool(self._spaced))

    def _text(self, opened: _Open, text: str) -> Iterator[str]:
        if opened.label is not None and self._spaced is None:
            opened.held.append(text)
            yield from self._give(opened, opened.writer.ahead(text))
        else:
            yield from self._give(opened, opened.writer.feed(text))

    def _end(self, opened: _Open) -> Iterator[str]:
        """The block is over: the first one with text tells whether the page ends printed lines in two spaces."""
        held = "".join(opened.held)
        opened.held.clear()
        if opened.label is not None and self._spaced is None and held.strip():
            self._spaced = opened.writer.spaced = held.rstrip("\n").endswith("  ")
        yield from self._give(opened, opened.writer.take(held))
        yield from self._give(opened, opened.writer.finish())

    def _give(self, opened: _Open, written: list[Written] | Iterator[Written]) -> Iterator[str]:
        for piece in written:
            target = self._owner(opened, piece)
            gap = PARAGRAPH if not target.pieces else piece.gap
            if gap == PARAGRAPH and not piece.text:
                continue  # an empty paragraph, of which only the gap would be seen
            target.pieces += [gap, piece.text] if target.pieces else [piece.text]
            text = gap + piece.text if self._given else piece.text
            self._given.append(text)
            yield text

    def _owner(self, opened: _Open, piece: Written) -> _Open:
        """A table's text may come below its caption's marker: from there on it is the table's, which then follows."""
        if opened.heir is None and opened.label in CAPTIONS and piece.is_table:
            at = self._opened.index(opened) - 1
            while at > 0 and (self._opened[at].label in CAPTIONS or self._opened[at].is_empty_text):
                at -= 1
            if self._opened[at].label == "table" and not self._opened[at].pieces:
                opened.heir = self._opened.pop(at)
                self._opened.insert(self._opened.index(opened) + 1, opened.heir)
        return opened.heir or opened


@dataclass(slots=True)
class _Open:
    """A block that is still being written. ``heir``: the table that takes what is left of a caption's text."""

    label: str | None
    boxes: tuple[Box, ...]
    writer: BlockWriter
    is_text: bool = False
    pieces: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    heir: _Open | None = None

    @property
    def is_empty_text(self) -> bool:
        return self.label == "text" and not self.pieces

    def blocks(self, whole: Box) -> Iterator[OutputBlock]:
        text = "".join(self.pieces)
        if not text and self.label != "image":
            return
        boxes = self.boxes if self.is_text else (union(self.boxes),) if self.boxes else (whole,)
        yield from (OutputBlock(self.label or "text", box, text) for box in boxes)
