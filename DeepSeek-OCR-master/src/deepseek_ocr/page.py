"""One page: events become Markdown (as a stream) and blocks. What is streamed, joined, is the page's Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deepseek_ocr.boxes import Box, to_pixels, union
from deepseek_ocr.parser import Event, Marker, Parser

LABELS = frozenset(
    {
        "title", "sub_title", "text", "list", "table", "image", "equation", "image_caption", "table_caption",
        "table_footnote", "header", "footer", "page_number", "footnote", "reference", "code", "others",
    }
)  # fmt: skip
"""Labels that name a kind of block. Any other label is itself text of the page (``OCR this image``, ``Locate``)."""

REPLACED = {r"\coloneqq": ":=", r"\eqqcolon": "=:"}
"""LaTeX the model writes that common renderers lack; the authors' scripts replace the same two."""


@dataclass(frozen=True, slots=True)
class Block:
    """``bbox`` in pixels of the page. ``text`` is Markdown; of an ``image`` it is its links."""

    label: str
    bbox: Box
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    index: int
    bbox: Box


def image_link(index: int) -> str:
    """Where the ``index``-th figure of a page is said to be, unless a caller names another place."""
    return f"images/{index}.jpg"


@dataclass(slots=True)
class PageReader:
    """Reads one page of ``width`` x ``height`` pixels from deltas of the model's output.

    ``feed`` and ``finish`` return Markdown that is final; then ``markdown``, ``blocks`` and ``figures`` are complete.
    """

    width: int
    height: int
    link: Callable[[int], str] = image_link
    figures: list[Figure] = field(default_factory=list)
    _parser: Parser = field(default_factory=Parser)
    _markdown: MarkdownStream = field(default_factory=lambda: MarkdownStream())
    _blocks: list[_Open] = field(default_factory=list)

    def feed(self, delta: str) -> str:
        return "".join(map(self._take, self._parser.feed(delta)))

    def finish(self) -> str:
        text = "".join(map(self._take, self._parser.finish()))
        return text + self._markdown.finish()

    @property
    def markdown(self) -> str:
        return self._markdown.whole

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(block for opened in self._blocks for block in opened.blocks())

    def _take(self, event: Event) -> str:
        if isinstance(event, Marker):
            return self._open(event)
        if self._blocks:
            self._blocks[-1].text.append(event.text)
        return self._markdown.feed(event.text)

    def _open(self, marker: Marker) -> str:
        boxes = tuple(to_pixels(box, self.width, self.height) for box in marker.boxes)
        opened = _Open(marker.label, boxes)
        self._blocks.append(opened)
        text = "" if opened.is_kind else marker.label
        if marker.label == "image":
            text = "".join(map(self._figure, boxes))
        opened.text.append(text)
        return self._markdown.feed(text)

    def _figure(self, box: Box) -> str:
        figure = Figure(len(self.figures), box)
        self.figures.append(figure)
        return f"![]({self.link(figure.index)})\n"


@dataclass(slots=True)
class _Open:
    """A block that is still being written."""

    label: str
    boxes: tuple[Box, ...]
    text: list[str] = field(default_factory=list)

    @property
    def is_kind(self) -> bool:
        return self.label in LABELS

    def blocks(self) -> Iterator[Block]:
        text = tidy("".join(self.text))
        if self.is_kind:
            yield Block(self.label, union(self.boxes), text)
        else:
            yield from (Block("text", box, text) for box in self.boxes)


@dataclass(slots=True)
class MarkdownStream:
    """Text in, tidy Markdown out: no blank lines at either end, at most one between, LaTeX replaced.

    Holds back what later text could still change.
    """

    whole: str = ""
    _held: str = ""
    _parts: list[str] = field(default_factory=list)

    def feed(self, text: str) -> str:
        self._held += text
        return self._release(_settled(self._held))

    def finish(self) -> str:
        """The rest; ``whole`` is complete afterwards."""
        rest = self._release(len(self._held.rstrip("\n")))
        self.whole = "".join(self._parts)
        return rest

    def _release(self, end: int) -> str:
        ready, self._held = self._held[:end], self._held[end:]
        for written, replacement in REPLACED.items():
            ready = ready.replace(written, replacement)
        if not self._parts:
            ready = ready.lstrip("\n")
        while "\n\n\n" in ready:
            ready = ready.replace("\n\n\n", "\n\n")
        if ready:
            self._parts.append(ready)
        return ready


def tidy(text: str) -> str:
    """``text`` as ``MarkdownStream`` gives it."""
    stream = MarkdownStream()
    stream.feed(text)
    stream.finish()
    return stream.whole


def _settled(text: str) -> int:
    """The length of ``text`` that no later text can change: without trailing newlines or the start of a command."""
    end = len(text.rstrip("\n"))
    if end < len(text):
        return end
    at = text.rfind("\\", max(0, len(text) - max(map(len, REPLACED)) + 1))
    if at >= 0 and any(written.startswith(text[at:]) for written in REPLACED):
        return len(text[:at].rstrip("\n"))
    return end
