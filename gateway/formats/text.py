"""A document as plain text: what the Markdown says, without its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from markdown_it.token import Token

from gateway.formats.cells import Grid
from gateway.formats.layout import Layout, text_of
from gateway.formats.parsing import only_markup, parser
from gateway.formats.source import PageWriter, written
from shared.contract.document import DocumentResult, PageResult

_ENDS = {"paragraph_close": "\n\n", "heading_close": "\n\n", "tr_close": "\n", "table_close": "\n", "hr": "\n"}
_CELLS = {"th_close": "\t", "td_close": "\t"}
_MARKS = {"sup": "^", "td": "\t", "th": "\t", "tr": "\n"}
_MARK = re.compile(r"<(sup|td|th|tr)\b", re.IGNORECASE)


class TextWriter(PageWriter):
    """Cells are parted by tabs (spanned ones are empty), rows by lines; formulas are left as LaTeX."""

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout or Layout()
        self._parting = ""

    def page(self, page: PageResult) -> str:
        its = _noted(page, plain(text_of(page, self._layout)))
        if not its:
            return ""
        parting, self._parting = self._parting, "\n\n"
        return parting + its

    def end(self) -> str:
        return "\n"


def text(document: DocumentResult, layout: Layout | None = None) -> str:
    """The document as ``TextWriter`` writes it."""
    return written(TextWriter(layout), document.pages)


def _noted(page: PageResult, text: str) -> str:
    corrections = sum(block.edited for block in page.blocks)
    return f"{text}\n\n[page {page.number}: {corrections} corrected by hand]" if corrections else text


def plain(markdown: str) -> str:
    written = "".join(_pieces(parser().parse(markdown)))
    lines = (line.rstrip() for line in written.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _pieces(tokens: Sequence[Token]) -> Iterator[str]:
    in_cell = False
    for token in tokens:
        in_cell = token.type in {"td_open", "th_open"} or (in_cell and token.type == "inline")
        if token.type == "inline":
            said = "".join(_inline(token.children or []))
            yield " ".join(said.split("\n")) if in_cell else said
        elif token.type == "html_block":
            yield strip_tags(only_markup(token.content)) + "\n\n"
        elif token.content:
            yield token.content.strip("\n") + "\n\n"
        elif token.type == "list_item_open":
            yield f"{token.info}{token.markup} " if token.info else "- "
        elif token.type == "paragraph_close" and token.hidden:
            yield "\n"
        else:
            yield _ENDS.get(token.type) or _CELLS.get(token.type, "\n" if token.type.endswith("_list_close") else "")


def _inline(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in {"softbreak", "hardbreak"}:
            yield "\n"
        elif token.type == "html_inline":
            mark = _MARK.match(token.content)
            yield _MARKS[mark[1].lower()] if mark else strip_tags(only_markup(token.content))
        else:
            yield token.content


class _Stripper(HTMLParser):
    """HTML's text. A table's cells are put where the table shows them, whatever spans and however it is damaged."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self._grid: Grid | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._depth += 1
            self._grid = self._grid or Grid()
        if tag == "sup":
            self._say("^")
        elif self._grid is None:
            self._say("\n" if tag in {"br", "p", "div"} else "")
        elif tag == "tr":
            self._grid.row()
        elif tag in {"td", "th"}:
            self._grid.cell(dict(attrs))
        elif tag in {"br", "p", "div", "li", "table"}:
            self._say(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._grid is None:
            self._say({"td": "\t", "th": "\t", "tr": "\n", "p": "\n", "div": "\n"}.get(tag, ""))
        elif tag in {"td", "th", "p", "div", "li"}:
            self._say(" ")
        elif tag == "table":
            self._depth -= 1
            if not self._depth:
                self._end_table()

    def handle_data(self, data: str) -> None:
        self._say(data)

    def close(self) -> None:
        super().close()
        if self._grid is not None:
            self._end_table()

    def _say(self, said: str) -> None:
        if self._grid is None:
            self.kept.append(said)
        else:
            self._grid.say(said)

    def _end_table(self) -> None:
        if self._grid is not None:
            self.kept += ["\t".join(row) + "\n" for row in self._grid.rows()]
        self._grid, self._depth = None, 0


def strip_tags(html: str) -> str:
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    return "".join(stripper.kept)
