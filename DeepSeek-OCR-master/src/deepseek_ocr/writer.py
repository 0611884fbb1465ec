"""A block's text as Markdown, written while it is read: what is given out is final.

A line is given out once it has ended, a table once it is whole; of a line that begins a paragraph the words before its
first sign that a rule may act on, as they come (``BlockWriter.ahead``). Whatever is left open at the end of a block
(code, a table) is closed, so that it cannot swallow the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from deepseek_ocr import clean, tables
from deepseek_ocr.labels import HEADINGS
from deepseek_ocr.style import MarkdownStyle
from deepseek_ocr.units import Kind, Span, Table, UnitLine, first_unit

PARAGRAPH, LINE = "\n\n", "\n"
FENCE = "```"
TABLE_END = "table>"

_RULED = re.compile(r"[`*_\\$<|\[\]#\n\r]|\s\s|-\s")
"""Where a rule may act, or a line ends: before it every rule of ``clean`` leaves a line as it is."""

_DECIDED = re.compile(r".*[^\s\d.,-]", re.S)
"""Up to the last sign that no next one changes: spaces at an end, hyphens and numbers may be taken into a formula."""


@dataclass(frozen=True, slots=True)
class Written:
    """A final piece of Markdown. ``gap`` parts it from the piece before in the same block."""

    gap: str
    text: str
    is_table: bool = False


@dataclass(slots=True)
class BlockWriter:
    """``kind``: the block's label, None for text outside any. ``spaced``: two spaces end a printed line (page-wide)."""

    kind: str | None
    style: MarkdownStyle
    spaced: bool = False
    _text: str = ""
    _new: list[str] = field(default_factory=list)
    _ending: str = ""
    _gap: str = PARAGRAPH
    _started: bool = False
    _in_list: bool = False
    _in_code: bool = False
    _reference: int | None = None
    _rows: list[UnitLine] = field(default_factory=list)
    _ahead: _Ahead | None = None

    def feed(self, text: str) -> Iterator[Written]:
        """What is final after ``text``."""
        yield from self.take(text)
        yield from self.ahead(text if self._ahead else self._text + text if self._new else self._text)

    def ahead(self, text: str) -> Iterator[Written]:
        """Words of an open line that are final before ``take`` has seen its end. ``text``: what came of the line."""
        if self._ahead is None:
            text = text.lstrip("\n" if self._in_list else None)  # as ``_ruled`` will
            if not text:
                return
            self._ahead = _Ahead(plain=self._may_go_ahead() and text[0].isalnum())
        if self._ahead.plain and (words := self._ahead.words(clean.without_marks(text))):
            yield Written(PARAGRAPH if self._ahead.given == len(words) else "", words)

    def _may_go_ahead(self) -> bool:
        is_heading = self.kind in HEADINGS and not self._started
        return self._gap == PARAGRAPH and not (self._in_code or self._rows or is_heading)

    def take(self, text: str) -> Iterator[Written]:
        """What has ended with ``text``, less what was given ahead of it."""
        self._new.append(text)
        ending = self._ending + text
        self._ending = ending[-len(TABLE_END) :]
        if "\n" in text or (">" in text and TABLE_END in ending.lower()):
            yield from self._units(last=False)

    def finish(self) -> Iterator[Written]:
        yield from self._units(last=True)
        yield from self._pipe_table()
        if self._in_code:
            yield Written(LINE, FENCE)

    def _units(self, *, last: bool) -> Iterator[Written]:
        self._text += clean.without_marks("".join(self._new))
        self._new.clear()
        at = 0
        while found := first_unit(self._text[at:], last=last, verbatim=self._in_code):
            unit, length = found
            at += length
            if isinstance(unit, Table):
                self._ahead = None
                yield from self._table(unit)
            else:
                yield from self._rest(unit)
        self._text = self._text[at:]

    def _rest(self, line: UnitLine) -> Iterator[Written]:
        """The line without the words that were given out ahead."""
        given = self._ahead.given if self._ahead else 0
        if given and not line.text.strip():
            yield from self._line(line)  # above the line that they are of
            return
        self._ahead = None
        written = self._line(line)
        if given and (rest := next(written).text[given:]):
            yield Written("", rest)
        yield from written

    def _table(self, table: Table) -> Iterator[Written]:
        yield from self._pipe_table()
        yield self._given_apart(tables.written(table.html, self.style), is_table=True)

    def _line(self, line: UnitLine) -> Iterator[Written]:
        text = line.text.strip()
        if text.startswith("|") and not self._in_code:
            self._rows.append(line)
            return
        yield from self._pipe_table()
        if text.startswith(FENCE):
            self._in_code = not self._in_code
            yield self._given(line.text.rstrip(), line)
        elif self._in_code:
            yield self._given(line.text, line)
        elif text:
            yield from self._written(line)
        else:
            self._gap = PARAGRAPH

    def _pipe_table(self) -> Iterator[Written]:
        """A table that the model wrote in pipes: its rows may have more cells than its head, which viewers drop."""
        rows, self._rows = self._rows, []
        if table := tables.from_pipes(rows, self.style):
            yield self._given_apart(table, is_table=True)
            return
        for row in rows:
            yield from self._written(row)

    def _given(self, text: str, line: UnitLine) -> Written:
        gap, self._started = self._gap, True
        if gap == LINE and text.startswith(clean.PRINTED_MARKS) and not self._in_code:
            gap = clean.BREAK
        self._gap = clean.BREAK if line.text.endswith("  ") and not self._in_code else LINE
        return Written(gap, text)

    def _written(self, line: UnitLine) -> Iterator[Written]:
        own_lines = not (self._is_heading(line.text) or line.text.lstrip().startswith("|"))
        text, spans = clean.set_aside(line, own_lines=own_lines)
        centred = clean.is_centred(text)
        for part in clean.paragraphs(text):
            self._gap = PARAGRAPH if centred else self._gap
            count = part.count(clean.INLINE) + part.count(clean.DISPLAY)
            yield from self._part(part, spans[:count], line)
            spans = spans[count:]
        self._gap = PARAGRAPH if centred else self._gap

    def _part(self, text: str, spans: list[Span], line: UnitLine) -> Iterator[Written]:
        """One paragraph of a line: text and the displayed formulas in it, in turn."""
        text = self._ruled(text.rstrip())
        pieces = text.split(clean.DISPLAY)
        for i, piece in enumerate(pieces):
            if i:
                after, piece = _punctuation(piece)
                yield self._given_apart(clean.displayed(spans.pop(0), self.style, after))
            inner = [spans.pop(0) for _ in range(piece.count(clean.INLINE))]
            if shown := self._shown(piece, inner):
                yield self._given(shown, line)
                self._gap = self._gap if i == len(pieces) - 1 else PARAGRAPH

    def _given_apart(self, text: str, *, is_table: bool = False) -> Written:
        self._gap, self._started = PARAGRAPH, True
        return Written(PARAGRAPH, text, is_table)

    def _ruled(self, text: str) -> str:
        """The rules that part text, and the hyphens."""
        if text.lstrip().startswith("|"):
            return text.strip()
        if self._gap == PARAGRAPH and not self._in_list:
            text = text.lstrip()
        if not self._is_heading(text):
            text = clean.at_printed_lines(text) if self.spaced else text
            text = clean.at_items(text, in_list=self._in_list)
            self._in_list = self._in_list or text.startswith("- ") or "\n- " in text
            if self._reference is not None or not self._started:
                text, self._reference = clean.at_references(text, self._reference)
        return clean.joined_hyphens(text) if self.style.clean else text

    def _shown(self, piece: str, spans: list[Span]) -> str:
        """A piece of text with its signs escaped and its formulas put back."""
        below_text = self._gap != PARAGRAPH
        text = piece.strip() if below_text or not self._in_list else piece.rstrip()
        if not text.strip() or not text.replace("<br>", "").replace("<br/>", "").strip():
            return ""
        is_row = text.startswith("|")
        heading = HEADINGS.get(self.kind or "", "") if not self._started else ""
        if heading and not (text.startswith(("#", "|")) or _is_formula(text, spans)):
            text = heading + text
        shown = clean.escaped(text).rstrip()
        if not is_row:
            marks = self._is_prose and not self._in_list
            shown = clean.line_starts(shown, comments=self._is_prose, marks=marks, below_text=below_text)
        return clean.put_back(shown, spans, self.style)

    @property
    def _is_prose(self) -> bool:
        """Does the model write no Markdown of its own here but lists and headings of two ``#`` and more?"""
        return self.kind is not None and self.kind not in HEADINGS

    def _is_heading(self, text: str) -> bool:
        marked = text.lstrip().startswith("#") and not self._is_prose
        return marked or (self.kind in HEADINGS and not self._started)


@dataclass(slots=True)
class _Ahead:
    """An open line. ``plain``: no rule acts on what there is of it; ``given``: characters that were given out."""

    plain: bool
    given: int = 0
    _undecided: str = ""

    def words(self, text: str) -> str:
        """What is final of the line's next ``text`` and was not given out. Looks at no sign more than twice."""
        before = len(self._undecided)
        text = self._undecided + text
        ruled = _RULED.search(text, max(0, before - 1))  # a rule may act on two signs
        self.plain = ruled is None
        text = text[: ruled.start()] if ruled else text
        decided = _DECIDED.match(text, before)
        end = decided.end() if decided else 0
        self._undecided = text[end:]
        self.given += end
        return text[:end]


def _punctuation(text: str) -> tuple[str, str]:
    """The punctuation alone behind a displayed formula, and what is left."""
    after = text.strip()
    return (after, "") if len(after) <= 2 and after and not after.strip(".,;:)") else ("", text)


def _is_formula(text: str, spans: list[Span]) -> bool:
    return text.strip() == clean.INLINE and spans[0].kind is not Kind.CODE
