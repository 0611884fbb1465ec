"""Pipe tables of which one may be the continuation of another, as at the top of the next page."""

from __future__ import annotations

import re

_BAR = re.compile(r"(?<!\\)\|")
_DELIMITER = re.compile(r"\|(?: *:?-+:? *\|)+")
_NUMBER = re.compile(r"[-+\u2212(]?\s*[^\w\s]{0,2}\s*\d[\d.,\s]*[^\w\s]{0,2}(?:\s?[^\W\d_]{1,3}\.?)?\)?")
"""A number, with its sign, currency or unit."""

LEAST_NUMERIC = 0.6
"""Share of a column's filled cells that are numbers, from which it is a column of numbers."""


def continued_rows(table: str, following: str) -> str | None:
    """The rows that ``following`` adds to ``table``, as Markdown; None if it is a table of its own, or none.

    It continues the table if it has as many columns, and either repeats its head, or begins with a row of values: a
    pipe table cannot do without a head, so the first row of such a continuation stands there.
    """
    if not (_is_table(table) and _is_table(following)):
        return None
    upper, lower = table.split("\n"), following.split("\n")
    heads = _cells(upper[0]), _cells(lower[0])
    if len(heads[0]) != len(heads[1]):
        return None
    if any(heads[0]) and heads[0] == heads[1]:
        return "\n".join(lower[2:]) or None
    if not _is_row_of_values(heads[1], heads[0], [_cells(row) for row in upper[2:]]):
        return None
    return "\n".join([lower[0], *lower[2:]])


def _is_table(paragraph: str) -> bool:
    lines = paragraph.split("\n")
    return len(lines) > 1 and all(line.startswith("|") for line in lines) and bool(_DELIMITER.fullmatch(lines[1]))


def _cells(row: str) -> list[str]:
    return [" ".join(cell.split()).casefold() for cell in _BAR.split(row.strip())[1:-1]]


def _is_row_of_values(row: list[str], head: list[str], body: list[list[str]]) -> bool:
    """Whether a row has numbers where ``body`` has them below words of ``head``, in one column at least."""
    columns = [
        i
        for i, name in enumerate(head)
        if not _is_number(name) and _is_numeric([cell for line in body for cell in line[i : i + 1]])
    ]
    return bool(columns) and all(_is_number(row[i]) for i in columns)


def _is_numeric(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and sum(map(_is_number, filled)) >= LEAST_NUMERIC * len(filled)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None
