"""Tables as the model writes them, HTML on one line, and as they are written: pipes where that loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepseek_ocr import clean, formulas
from deepseek_ocr.style import MarkdownStyle
from deepseek_ocr.units import Kind, Span, UnitLine, first_unit

Rows = list[list[str]]

_TAG = re.compile(r"<(/?)(table|thead|tbody|tfoot|tr|td|th)\b([^<>]*)>", re.IGNORECASE)
_PIPE = re.compile(r"(?<!\\)\|")
_DASHES = re.compile(r":?-+:?")
_SPANNED = re.compile(r"\b(?:row|col)span\s*=\s*[\"']?\s*0*(?!1\b)\d", re.IGNORECASE)
_CENTER = re.compile(r"</?ce(?:nter)?\s*>", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_KEPT = re.compile(r"</?(?:b|i|u|s|em|strong|sub|sup)>|<br>", re.IGNORECASE)
_MARKUP = re.compile(r"\\(?=[!-/:-@\[-`{-~])|[*`~$|]|(?<!\w)_|_(?!\w)|\](?=\()|<(?=[A-Za-z/!?])")
_SECTIONS = frozenset({"thead", "tbody", "tfoot"})
_OUTSIDE = {"table": "", "tr": "table", "td": "tr"}
_CELL = {"th": "td"}
_HALF_TAG = re.compile(r"</?(?:t[a-z]*(?:\s[^<>]*)?)?\Z", re.IGNORECASE)
_ANY_TAG = re.compile(r"(</?[A-Za-z][^<>]*>)")


def written(html: str, style: MarkdownStyle) -> str:
    """A table as Markdown, or as HTML that is closed, has no blank line and no formula a viewer would miss."""
    rows = rectangle(html) if style.table == "markdown" else None
    if rows is None:
        return _as_html(html, style)
    lines = [_row([_cell(cell, style) for cell in row]) for row in rows]
    return "\n".join((lines[0], _row(["---"] * len(rows[0])), *lines[1:]))


def from_pipes(lines: Sequence[UnitLine], style: MarkdownStyle) -> str | None:
    """A table that is written in pipes, every row with as many cells as the longest; None if it is no table."""
    rows = [_pipe_cells(line, style) for line in lines]
    if len(rows) < 2 or not all(_DASHES.fullmatch(cell) for cell in rows[1]):
        return None
    width = max(map(len, rows))
    rule = [re.sub("-+", "---", cell) for cell in rows[1]] + ["---"] * (width - len(rows[1]))
    return "\n".join(_row([*row, *[""] * (width - len(row))]) for row in (rows[0], rule, *rows[2:]))


def _pipe_cells(line: UnitLine, style: MarkdownStyle) -> list[str]:
    text, spans = clean.set_aside(line, own_lines=False)
    inner = re.sub(r"^\s*\||(?<!\\)\|\s*$", "", text)
    cells = []
    for cell in _PIPE.split(inner):
        own = [spans.pop(0) for _ in range(cell.count(clean.INLINE))]
        shown = clean.put_back(clean.escaped(cell.strip()), own, style)
        cells.append(formulas.for_a_cell(shown) if own else shown)
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def rectangle(html: str) -> Rows | None:
    """The cells' HTML of a well-formed table whose rows have the same number of cells and which spans none."""
    rows: Rows = []
    inside, at = "", 0
    for tag in _TAG.finditer(html):
        name, between, at = _CELL.get(tag[2].lower(), tag[2].lower()), html[at : tag.start()], tag.end()
        if inside != "td" and between.strip():
            return None
        if name in _SECTIONS and inside == "table":
            continue
        outer = _OUTSIDE.get(name)
        if outer is None or inside != (name if tag[1] else outer) or _SPANNED.search(tag[3]):
            return None
        inside = outer if tag[1] else name
        if name == "tr" and not tag[1]:
            rows.append([])
        elif name == "td" and tag[1]:
            rows[-1].append(between)
    whole = not inside and not html[at:].strip()
    return rows if whole and rows and rows[0] and len({len(row) for row in rows}) == 1 else None


def _cell(html: str, style: MarkdownStyle) -> str:
    text = " ".join(_BREAK.sub("<br>", _CENTER.sub(" ", html)).split())
    return "".join(_cell_pieces(text, style)).strip()


def _cell_pieces(text: str, style: MarkdownStyle) -> Iterator[str]:
    for piece, span in _told_apart(text):
        yield _escaped(piece)
        if span:
            yield formulas.for_a_cell(_formula(text, span, style))


def _escaped(text: str) -> str:
    """Text of a cell in which nothing but a few tags is markup."""
    at, pieces = 0, []
    for tag in _KEPT.finditer(text):
        pieces += [_plain(text[at : tag.start()]), tag[0]]
        at = tag.end()
    return "".join((*pieces, _plain(text[at:])))


def _plain(text: str) -> str:
    return formulas.replaced(_MARKUP.sub(lambda sign: "]\\" if sign[0] == "]" else f"\\{sign[0]}", text))


def _as_html(html: str, style: MarkdownStyle) -> str:
    text = re.sub(r"\n\s*\n", "\n", _CENTER.sub(" ", _HALF_TAG.sub("", html)))
    pieces: list[str] = []
    for piece, span in _told_apart(text):
        pieces.append(formulas.replaced(piece).replace("$", "&#36;"))
        if span:
            pieces.append(formulas.for_html(_formula(text, span, style)))
    closed = "".join(pieces)
    missing = len(re.findall(r"<table\b", closed, re.IGNORECASE)) - len(re.findall(r"</table\b", closed, re.IGNORECASE))
    return closed + "</table>" * max(0, missing)


def _formula(text: str, span: Span, style: MarkdownStyle) -> str:
    if span.kind is Kind.CODE or style.math == "brackets":
        return text[span.start : span.end]
    return formulas.in_dollars(formulas.replaced(span.body))


def _told_apart(text: str) -> Iterator[tuple[str, Span | None]]:
    """Text and the formula behind it, in turn. A formula ends in its cell."""
    at = start = 0
    for piece in _ANY_TAG.split(text):
        unit = None if _ANY_TAG.fullmatch(piece) else first_unit(piece.replace("\n", " "), last=True)
        for span in unit[0].spans if unit and isinstance(unit[0], UnitLine) else ():
            yield text[at : start + span.start], Span(span.kind, start + span.start, start + span.end, span.body)
            at = start + span.end
        start += len(piece)
    yield text[at:], None
