"""A table's cells in the columns where they are shown: spans leave empty cells, as a spreadsheet would have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_SPAN = 100
MAX_COLUMNS = 1000


@dataclass(slots=True)
class _Cell:
    column: int
    said: list[str] = field(default_factory=list)

    def text(self) -> str:
        """On one line."""
        return " ".join("".join(self.said).split())


@dataclass(slots=True)
class Grid:
    """Takes rows, cells and text in the order of the HTML; text outside a cell goes to the cell before it."""

    _rows: list[list[_Cell]] = field(default_factory=list)
    _taken: dict[int, int] = field(default_factory=dict)
    _outside: list[str] = field(default_factory=list)

    def row(self) -> None:
        if self._rows and not self._rows[-1]:
            return
        self._taken = {column: rows - 1 for column, rows in self._taken.items() if rows > 1}
        self._rows.append([])

    def cell(self, attributes: Mapping[str, str | None]) -> None:
        """A cell in the first column that no cell above or before it reaches into."""
        if not self._rows:
            self._rows.append([])
        column, row = 0, self._rows[-1]
        if row:
            column = row[-1].column + 1
        while column in self._taken and column < MAX_COLUMNS:
            column += 1
        row.append(_Cell(column))
        rows = _span(attributes.get("rowspan"))
        for spanned in range(column, min(column + _span(attributes.get("colspan")), MAX_COLUMNS)):
            self._taken[spanned] = max(rows, self._taken.get(spanned, 0))

    def say(self, text: str) -> None:
        row = next((row for row in reversed(self._rows) if row), None)
        (row[-1].said if row else self._outside).append(text)

    def rows(self) -> Iterator[list[str]]:
        """The rows' texts, column by column; rows without a cell are left out, text before the first is one."""
        if before := " ".join("".join(self._outside).split()):
            yield [before]
        for row in self._rows:
            if row:
                texts = [""] * (row[-1].column + 1)
                for cell in row:
                    texts[cell.column] = f"{texts[cell.column]} {cell.text()}".strip()
                yield texts


def _span(given: str | None) -> int:
    return min(max(int(given), 1), MAX_SPAN) if given and given.isascii() and given.isdigit() and len(given) < 6 else 1
