"""Reading order on lines made by hand."""

from __future__ import annotations

from tests.unit.worker.engines.cpu.making import line, stack
from worker.engines.cpu.lines import Line, rows
from worker.engines.cpu.reading_order import columns

PROSE = [f"line {i} of a column of prose" for i in range(8)]


def read(lines: list[Line]) -> list[str]:
    return [piece.text for column in columns(lines) for row in column.rows for piece in row.pieces]


def test_two_columns_are_read_one_after_the_other() -> None:
    left, right = stack([f"left {t}" for t in PROSE], 100, 100), stack([f"right {t}" for t in PROSE], 600, 100)
    mixed = [each for pair in zip(left, right, strict=True) for each in pair]
    assert read(mixed) == [each.text for each in left + right]


def test_a_line_across_both_columns_parts_what_is_above_from_what_is_below() -> None:
    across = line("a heading that reaches over both of the columns of this page" * 2, 100, 320, width=900)
    above = [stack(PROSE[:6], 100, 100), stack(PROSE[:6], 600, 100)]
    below = [stack(PROSE, 100, 400), stack(PROSE, 600, 400)]
    found = read([*above[0], *above[1], across, *below[0], *below[1]])
    assert found == PROSE[:6] * 2 + [across.text] + PROSE * 2


def test_a_heading_below_the_columns_is_read_after_them() -> None:
    left, right = stack(PROSE, 100, 100), stack(PROSE, 600, 100)
    heading = line("More of it", 100, 350)
    across = line("text that reaches over both columns", 100, 380, width=900)
    assert read([*left, *right, heading, across])[-2:] == [heading.text, across.text]


def test_the_end_of_a_paragraph_above_the_columns_is_read_before_them() -> None:
    across = line("a paragraph that reaches over both columns and", 100, 40, width=900)
    end = line("ends here.", 100, 66)
    left, right = stack(PROSE, 100, 140), stack(PROSE, 600, 140)
    assert read([*right, *left, end, across])[:2] == [across.text, end.text]


def test_cells_of_a_table_are_not_columns() -> None:
    names, prices = (
        stack(["ham", "eggs", "milk", "rice", "oil", "tea", "salt"], 100, 100),
        stack(["1.20"] * 7, 500, 100),
    )
    assert read([*names, *prices])[:4] == ["ham", "1.20", "eggs", "1.20"]


def test_a_single_column_is_read_downwards_whatever_the_order_of_detection() -> None:
    lines = stack(PROSE, 100, 100)
    assert read(lines[::-1]) == PROSE


def test_pieces_of_one_line_stand_in_one_row() -> None:
    assert [len(found.pieces) for found in rows([line("b", 300, 104), line("a", 100, 100), line("c", 100, 140)])] == [
        2,
        1,
    ]


def test_no_lines_make_no_columns() -> None:
    assert columns([]) == []


def test_columns_in_one_part_of_a_page_are_found_there() -> None:
    table = [*stack(["tea", "salt", "rice", "oil"], 100, 100), *stack(["1.20"] * 4, 700, 100)]
    note, address = (
        stack([f"the note goes on {i}" for i in range(4)], 100, 300),
        stack(["an address line"] * 4, 700, 300),
    )
    assert read([*table, *note, *address])[-8:] == [line.text for line in note + address]


DISHES = [
    "Clear soup with herbs",
    "Smoked herring on toast",
    "Potato salad, warm",
    "Roast chicken, half",
    "Apple strudel",
]


def test_values_stay_beside_their_words() -> None:
    words = stack(DISHES * 2, 100, 100, step=42)
    prices = [line(f"{i}.20", 840, 103 + 42 * i, height=17) for i in range(10)]
    assert read([*words, *prices])[:4] == [DISHES[0], "0.20", DISHES[1], "1.20"]


def test_a_gutter_that_shifts_down_the_page() -> None:
    upper = [stack(PROSE, 100, 100), stack(PROSE, 600, 100)]
    heading = line("A heading", 100, 400)
    lower = [stack([f"{t} that is a good deal wider" for t in PROSE], 100, 480), stack(PROSE, 760, 480)]
    found = read([*upper[0], *upper[1], heading, *lower[0], *lower[1]])
    assert found == [*PROSE, *PROSE, "A heading", *[each.text for each in lower[0]], *PROSE]


def test_a_sidebar_is_read_apart_from_the_text_beside_it() -> None:
    side = stack(["Contact", "anna@example.org", "+44 20 7946", "Skills", "Lamp repair"], 100, 100, step=57)
    body = stack([f"Responsible for the lamp and the log, {i}" for i in range(8)], 600, 88, step=40)
    assert read([*side, *body]) == [each.text for each in side + body]


def test_a_heading_over_some_of_the_columns_comes_first() -> None:
    heading = line("The Aldmouth Herald", 450, 20, height=50, width=560)
    three = [stack(PROSE, x, 120) for x in (100, 500, 900)]
    assert read([heading, *three[0], *three[1], *three[2]]) == [heading.text, *PROSE * 3]
