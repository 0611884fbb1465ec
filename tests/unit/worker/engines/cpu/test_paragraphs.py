"""Paragraphs, lists, tables and code from rows made by hand."""

from __future__ import annotations

import pytest

from tests.unit.worker.engines.cpu.making import line, row, rows_of, stack
from worker.engines.cpu import code, tables
from worker.engines.cpu.joining import row_text, run_on, vocabulary
from worker.engines.cpu.lines import Row
from worker.engines.cpu.paragraphs import is_page_number, parts
from worker.engines.escape import escaped

NOTHING: frozenset[str] = frozenset()
LONG = "a line that reaches to the right edge of it"


def texts(rows: list[Row]) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parts(rows, NOTHING)]


def test_lines_of_a_paragraph_are_joined() -> None:
    assert texts(rows_of([LONG, LONG, "and its end"])) == [("text", f"{LONG} {LONG} and its end")]


def test_a_gap_begins_a_new_paragraph() -> None:
    rows = rows_of([LONG, LONG]) + rows_of([LONG, "end"], y=190)
    assert texts(rows) == [("text", f"{LONG} {LONG}"), ("text", f"{LONG} end")]


def test_an_indented_line_begins_a_new_paragraph() -> None:
    rows = [*rows_of([LONG, LONG]), row("indented and so on, to the right edge", 140, 152), *rows_of([LONG], y=178)]
    assert [kind for kind, _ in texts(rows)] == ["text", "text"]


def test_lines_that_end_early_stay_lines() -> None:
    assert texts(rows_of(["4 ounces of peas", "3 onions", LONG])) == [
        ("text", f"4 ounces of peas  \n3 onions  \n{LONG}")
    ]


def test_bullets_make_a_list_and_their_lines_are_joined() -> None:
    rows = [row("• " + LONG, 100, 100), row("goes on", 120, 126), row("• second", 100, 152)]
    assert texts(rows) == [("list", f"- {LONG} goes on\n- second")]


def test_indented_bullets_are_nested() -> None:
    rows = [row("• one", 100, 100), row("• deeper", 140, 126), row("• two", 100, 152)]
    assert texts(rows) == [("list", "- one\n   - deeper\n- two")]


def test_numbers_are_kept() -> None:
    assert texts(rows_of(["3. third", "4. fourth"])) == [("list", "3. third\n4. fourth")]


def test_a_number_within_a_sentence_begins_no_list() -> None:
    assert texts(rows_of([LONG + " in chapter", "12. It goes on to the end of the line, as above"]))[0][0] == "text"


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("the func-", "tion ends", "the function ends"),
        ("a well-", "known word", "a well-known word"),
        ("see Smith-", "Jones there", "see Smith-Jones there"),
        ("pages 10-", "12 there", "pages 10-12 there"),
        ("two words", "follow", "two words follow"),
        ("两个", "词语", "两个词语"),
        ("中文", "word", "中文 word"),
        ("under /usr/", "lib there", "under /usr/lib there"),
    ],
)
def test_line_ends(before: str, after: str, joined: str) -> None:
    assert run_on(before, after, frozenset({"well-known"})) == joined


def test_the_page_is_the_dictionary() -> None:
    known = vocabulary(["It is a well-known function.", "a broken-"])
    assert {"well-known", "function"} <= known
    assert "broken-" not in known


def test_signs_of_markdown_are_escaped() -> None:
    assert escaped("# no heading") == r"\# no heading"
    assert escaped("/opt/<package>") == r"/opt/\<package>"
    assert escaped("** note") == r"\*\* note"
    assert escaped("a < b and 2 * 3") == "a < b and 2 * 3"


def test_pieces_of_a_row_are_parted_by_spaces_but_not_in_chinese() -> None:
    assert row_text(Row((line("left", 100, 100), line("right", 300, 100)))) == "left right"
    assert row_text(Row((line("左", 100, 100), line("右", 300, 100)))) == "左右"


def test_page_numbers() -> None:
    assert all(map(is_page_number, ("7", "- 7 -", "xii", "1 of 9", "Page 3 of 4", "3/12")))
    assert not any(map(is_page_number, ("2024 report", "Chapter 7", "", "3.14")))


def cells(*columns: list[str]) -> list[Row]:
    """A table whose columns begin 200 pixels from each other."""
    made = [stack(column, 100 + 200 * i, 100) for i, column in enumerate(columns)]
    return [Row(tuple(piece for piece in pieces if piece.text)) for pieces in zip(*made, strict=True)]


def test_a_table_is_found_by_its_gaps() -> None:
    rows = cells(["name", "ham", "eggs"], ["each", "1.20", "0.30"], ["all", "2.40", "3.60"])
    assert texts(rows) == [
        ("table", "| name | each | all |\n| --- | --- | --- |\n| ham | 1.20 | 2.40 |\n| eggs | 0.30 | 3.60 |")
    ]


def test_an_empty_cell_keeps_its_place() -> None:
    pieces = [
        piece for row in cells(["name", "ham", "eggs"], ["each", "", "0.30"], ["a", "b", "c"]) for piece in row.pieces
    ]
    assert tables.grid(pieces)[1][1] == ["ham", "", "b"]


def test_a_sentence_above_a_table_is_none_of_its_rows() -> None:
    intro = line("prices of the week, all of them in euros and with tax", 100, 60)
    pieces = [piece for row in cells(["ham", "eggs"], ["1.20", "0.30"]) for piece in row.pieces]
    before, body = tables.grid([intro, *pieces])
    assert [row_text(row) for row in before] == [intro.text]
    assert body == [["ham", "1.20"], ["eggs", "0.30"]]


def test_a_pipe_in_a_cell_is_escaped() -> None:
    assert tables.markdown([["a|b", "c"], ["d", "e"]]).startswith(r"| a\|b | c |")


PROGRAM = ["int main() {", "return answer(42);", "}"]


def test_letters_of_one_width_and_signs_of_programs_are_code() -> None:
    rows = [
        row(PROGRAM[0], 100, 100),
        row(PROGRAM[1], 140, 126),
        row("int b = 2;", 140, 152),
        row(PROGRAM[2], 100, 178),
    ]
    assert texts(rows) == [("code", "```\nint main() {\n    return answer(42);\n    int b = 2;\n}\n```")]


def test_prose_of_a_typewriter_is_no_code() -> None:
    assert not code.is_code(rows_of(["take the peas and wash them", "in water for a day", "then cook them well"]))


def test_prose_that_names_functions_is_no_code() -> None:
    uneven = [Row((line(t, 100, 100 + 26 * i, width=430 + 40 * i),)) for i, t in enumerate([LONG + " f(x);"] * 4)]
    assert not code.is_code(uneven)


@pytest.mark.parametrize(("inside", "fence"), [("x = 1;", "```"), ("``` x;", "````"), ("a `````b`` {", "``````")])
def test_a_fence_is_longer_than_any_in_the_program(inside: str, fence: str) -> None:
    text = code.markdown(rows_of(["f();", inside, "g();"]))
    assert text.splitlines() == [fence, "f();", inside, "g();", fence]


def test_numbered_paragraphs_with_ragged_lines_stay_whole() -> None:
    rows = rows_of(
        [
            "1. The keeper shall light the lamp at sunset and shall",
            "keep it burning until sunrise.",
            "2. The log is written every morning, giving the ships that",
            "were sighted. Extraordinary occurrences",
            "Are reported to the committee at once.",
        ]
    )
    ((kind, text),) = texts(rows)
    assert kind == "list"
    assert [item[:2] for item in text.splitlines()] == ["1.", "2."]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("- 5 °C were measured", r"\- 5 °C were measured"), ("1986. A great year it was.", r"1986. A great year it was.")],
)
def test_a_minus_or_a_year_begins_no_list(printed: str, shown: str) -> None:
    assert texts(rows_of([printed])) == [("text", shown if printed[0] == "-" else r"1986\. A great year it was.")]


def test_a_lone_number_is_no_list() -> None:
    assert texts(rows_of(["12. March 2024"])) == [("text", r"12\. March 2024")]


def test_lines_that_fill_little_of_their_column_stay_lines() -> None:
    short = ["Lamp clean", "Railings painted", "Oil filled up"]
    assert [text for _, text in texts(rows_of(short))] != ["  \n".join(short)]
    assert [part.text for part in parts(rows_of(short), NOTHING, 1000.0)] == ["  \n".join(short)]


def test_checkboxes_are_items() -> None:
    assert texts(rows_of(["[x] Lamp clean", "[ ] Railings painted"])) == [
        ("list", "- [x] Lamp clean\n- [ ] Railings painted")
    ]


def cells_at(y: float, *cells: str) -> Row:
    return Row(tuple(line(text, 100 + 300 * i, y) for i, text in enumerate(cells) if text))


def test_cells_of_several_lines_are_one_cell() -> None:
    rows = [
        cells_at(100, "Part", "Material", "Remark"),
        cells_at(146, "Lamp", "Brass, from", "weekly"),
        cells_at(172, "", "The works", ""),
        cells_at(218, "Wick", "Cotton", "daily"),
    ]
    assert tables.table_cells(rows, 20.0)[1] == ["Lamp", "Brass, from The works", "weekly"]
    assert len(tables.table_cells(rows, 20.0)) == 3


def test_numbers_under_an_empty_cell_are_a_row_of_their_own() -> None:
    rows = [cells_at(100, "Oil", "1", "2"), cells_at(126, "", "3", ""), cells_at(152, "Wick", "4", "5")]
    assert len(tables.table_cells(rows, 20.0)) == 3


def test_leaders_of_a_table_of_contents_go() -> None:
    assert tables.without_leaders([["1 Scope....", "1"], ["2 Terms...", "4"], ["3 The log.", "9"]]) == [
        ["1 Scope", "1"],
        ["2 Terms", "4"],
        ["3 The log", "9"],
    ]


def test_columns_of_prose_are_no_table() -> None:
    left = [
        "groups and single persons refuse",
        "being drawn into the public",
        "ambitions of the oil trade as it",
        "looks",
    ]
    assert not tables.is_table([[a, b] for a, b in zip(left, reversed(left), strict=True)])
    assert tables.is_table([["Customer", "Maria Lindqvist"], ["Order date", "12 May 2024"], ["Payment", "by invoice"]])
