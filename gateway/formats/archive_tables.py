"""The archive's tables as CSV (RFC 4180), for spreadsheets: one file for each table, merged cells filled in."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import StringIO

from gateway.formats.parsing import only_markup, parser
from gateway.formats.text import plain
from shared.contract.document import PageResult

BOM = "\ufeff"  # without it Excel takes UTF-8 for the code page of its country
MAX_SPAN = 1000
MAX_CELLS = 200_000  # of one table: what spans make of it counts
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,\s]*\d[\d.,\s%]*$)")


def csv_tables(pages: Iterable[PageResult]) -> Iterator[tuple[str, str]]:
    """Name (``tables/<page>_<i>.csv``, i from 0) and text of every table, in the pages' order."""
    for page in pages:
        tables = [table for block in page.blocks if block.type == "table" for table in tables_of(block.text)]
        for index, table in enumerate(tables):
            yield f"tables/{page.number}_{index}.csv", as_csv(table)


def tables_of(markdown: str) -> list[list[list[str]]]:
    """The tables in a block's text, pipes or HTML, as rows of cells; a merged cell stands in its first place."""
    reader = _Reader()
    for token in parser().parse(markdown):
        if token.type == "html_block":
            reader.feed(only_markup(token.content))
        elif token.type == "inline":
            reader.handle_data(plain(token.content))
        elif token.type.endswith("_open"):
            reader.handle_starttag(token.tag, [])
        elif token.type.endswith("_close"):
            reader.handle_endtag(token.tag)
    reader.close()
    return [table for table in reader.tables if any(any(row) for row in table)]


def as_csv(table: list[list[str]]) -> str:
    width = max(map(len, table))
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([_inert(cell) for cell in row] + [""] * (width - len(row)) for row in table)
    return BOM + out.getvalue()


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: whoever made the scan decides what stands in it."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


@dataclass(slots=True)
class _CsvCell:
    across: int
    down: int
    text: str = ""


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    taken: set[tuple[int, int]] = field(default_factory=set)
    """Places that a merged cell further up or left covers."""

    def add(self, cell: _CsvCell) -> None:
        row = len(self.rows) - 1
        if row < 0:
            self.rows.append([])
            row = 0
        if len(self.taken) + cell.across * cell.down > MAX_CELLS:
            cell.across = cell.down = 1
        column = len(self.rows[row])
        while (row, column) in self.taken:
            self.rows[row].append("")
            column += 1
        self.rows[row].append(" ".join(cell.text.split()))
        self.rows[row] += [""] * (cell.across - 1)
        self.taken |= {(row + down, column + across) for down in range(1, cell.down) for across in range(cell.across)}


class _Reader(HTMLParser):
    """Reads tables of HTML, or of Markdown told as its tags; one inside a cell is part of that cell's text."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._depth = 0
        self._table = _Table()
        self._cell: _CsvCell | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._depth += 1
            if self._depth == 1:
                self._table = _Table()
        elif self._depth == 1 and tag == "tr":
            self._end_cell()
            self._table.rows.append([])
        elif self._depth == 1 and tag in ("td", "th"):
            self._end_cell()
            given = dict(attrs)
            self._cell = _CsvCell(_span(given.get("colspan")), _span(given.get("rowspan")))
        elif tag == "br" and self._cell is not None:
            self._cell.text += " "

    def handle_endtag(self, tag: str) -> None:
        if self._depth == 1 and tag in ("td", "th", "tr", "table"):
            self._end_cell()
        if tag == "table" and self._depth:
            self._depth -= 1
            if not self._depth:
                self.tables.append(self._table.rows)

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.text += data

    def _end_cell(self) -> None:
        if self._cell is not None:
            self._table.add(self._cell)
            self._cell = None


def _span(value: str | None) -> int:
    return min(MAX_SPAN, int(value)) if value and value.isascii() and value.isdigit() and int(value) else 1
