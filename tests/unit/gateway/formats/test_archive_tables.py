"""Tables as CSV: the cells of the page, where they stood, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from gateway.formats.archive_tables import BOM, as_csv, csv_tables, tables_of
from shared.contract.document import DocumentResult, PageBlock, PageResult, PageStatus

PIPES = "| Part | Price |\n| --- | --- |\n| Rope, tarred | 9.95 |\n| a \\| b | \\$4 |"
MERGED = (
    "<table><tr><td rowspan=2>Town</td><td colspan=2>Ships</td></tr><tr><td>in</td><td>out</td></tr>"
    "<tr><td>Aldmouth &amp; Co</td><td>3<br>4</td><td>x &lt; y</td></tr></table>"
)


def read(text: str) -> list[list[str]]:
    assert text.startswith(BOM)
    return list(csv.reader(StringIO(text.removeprefix(BOM))))


def test_pipes_become_rows() -> None:
    assert tables_of(PIPES) == [[["Part", "Price"], ["Rope, tarred", "9.95"], ["a | b", "$4"]]]


def test_merged_cells_stand_in_their_first_place_and_the_others_keep_theirs() -> None:
    assert tables_of(MERGED) == [
        [["Town", "Ships", ""], ["", "in", "out"], ["Aldmouth & Co", "3 4", "x < y"]],
    ]


def test_rows_of_different_lengths_are_filled_up() -> None:
    assert read(as_csv([["a"], ["b", 'say "c"', "d\ne"]])) == [["a", "", ""], ["b", 'say "c"', "d\ne"]]


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+cmd|x", "'+cmd|x"), ("-5", "-5"), ("- 4,50 %", "- 4,50 %"),
     ("-A1", "'-A1"), ("+49 123", "+49 123"), ("plain = x", "plain = x")],
)  # fmt: skip
def test_no_cell_is_a_formula(cell: str, written: str) -> None:
    assert read(as_csv([[cell]])) == [[written]]


def test_spans_beyond_all_bounds_lose_no_cell() -> None:
    (table,) = tables_of("<table><tr><td rowspan=1000 colspan=9999999999>a</td><td>b</td></tr></table>")
    assert [cell for row in table for cell in row] == ["a", "b"]


@pytest.mark.parametrize("wild", ["<table>" * 500 + "<tr><td>a", "<td>a</td><tr><td>b</td></table>", "| a |\n| - |"])
def test_what_is_no_table_harms_nothing(wild: str) -> None:
    assert len(tables_of(wild)) <= 1


def test_tables_are_numbered_page_by_page() -> None:
    def page(number: int, *texts: str) -> PageResult:
        blocks = tuple(PageBlock(type="table", bbox=(0, 0, 1, 1), text=text) for text in texts)
        other = PageBlock(type="text", bbox=(0, 0, 1, 1), text=PIPES)
        return PageResult(number=number, status=PageStatus.OK, blocks=(other, *blocks))

    document = DocumentResult(job_id="j", engine="e", pages=(page(3, PIPES, MERGED), page(9, PIPES), page(10)))
    assert [name for name, _ in csv_tables(document.pages)] == ["tables/3_0.csv", "tables/3_1.csv", "tables/9_0.csv"]
