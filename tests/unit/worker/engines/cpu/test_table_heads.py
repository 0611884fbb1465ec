"""Heads of tables whose cells are merged stand over the columns they belong to."""

from __future__ import annotations

from tests.unit.worker.engines.cpu.making import line
from worker.engines.cpu.lines import Line
from worker.engines.cpu.tables import Cells, grid

COLUMNS = (100, 340, 520, 700, 880)
QUARTERS = ["Units", "Value", "Units", "Value"]
BODY = [["North", "12", "340", "15", "410"], ["South", "8", "220", "9", "260"], ["West", "21", "700", "19", "655"]]


def across(text: str, columns: tuple[int, ...], y: float) -> Line:
    """A word in the middle of some columns, whose words are 50 pixels wide."""
    middle = (columns[0] + columns[-1] + 50) / 2
    return line(text, middle - 5 * len(text), y)


def rows_at(y: float, rows: list[list[str]]) -> list[Line]:
    places = zip(COLUMNS, range(5), strict=True)
    return [line(row[i], x, y + 40 * n, width=50) for x, i in places for n, row in enumerate(rows) if row[i]]


def cells_of(lines: list[Line]) -> Cells:
    return grid(lines)[1]


def test_words_over_two_columns_each_stand_in_the_first_of_them() -> None:
    head = [across("Spring", COLUMNS[1:3], 100), across("Autumn", COLUMNS[3:5], 100)]
    found = cells_of([*head, *rows_at(140, [["", *QUARTERS], *BODY])])
    assert found == [["", "Spring", "", "Autumn", ""], ["", *QUARTERS], *BODY]


def test_a_cell_beside_two_rows_of_head_is_on_the_lower_one() -> None:
    head = [across("Spring", COLUMNS[1:3], 100), across("Autumn", COLUMNS[3:5], 100), line("Region", 100, 121)]
    found = cells_of([*head, *rows_at(142, [["", *QUARTERS], *BODY])])
    assert found == [["", "Spring", "", "Autumn", ""], ["Region", *QUARTERS], *BODY]


def test_one_word_over_all_columns_of_values_belongs_to_the_table() -> None:
    found = cells_of([across("Sales", COLUMNS[1:], 100), *rows_at(140, [["Region", "A", "B", "C", "D"], *BODY])])
    assert found[0] == ["", "Sales", "", "", ""]


def test_a_caption_over_the_whole_table_does_not() -> None:
    lines = [across("Sales", COLUMNS, 100), *rows_at(140, [["Region", "A", "B", "C", "D"], *BODY])]
    before, found = grid(lines)
    assert [row.pieces[0].text for row in before] == ["Sales"]
    assert found[0] == ["Region", "A", "B", "C", "D"]


def test_a_head_over_some_columns_alone_stays_where_it_stands() -> None:
    head = [line("Units", COLUMNS[1], 100, width=50), line("Value", COLUMNS[4], 100, width=50)]
    found = cells_of([*head, *rows_at(140, BODY)])
    assert found == [["", "Units", "", "", "Value"], *BODY]


def test_cells_centred_beside_cells_of_two_and_three_lines_stay_in_their_row() -> None:
    def part(name: str, lines: list[str], often: str, y: float) -> list[Line]:
        middle = y + 13 * (len(lines) - 1)
        texts = [line(text, 330, y + 26 * i) for i, text in enumerate(lines)]
        return [line(name, 100, middle), *texts, line(often, 800, middle)]

    lamp, clock = (
        ["Clean the lens with spirit,", "Then check the wick"],
        ["Wind it.", "Oil the axle.", "Note the hour."],
    )
    lines = [*part("Part", ["Work"], "Interval", 100), *part("Lamp", lamp, "weekly", 160)]
    lines += [*part("Clock", clock, "daily", 246), *part("Rails", ["Paint"], "yearly", 358)]
    assert cells_of(lines) == [
        ["Part", "Work", "Interval"],
        ["Lamp", " ".join(lamp), "weekly"],
        ["Clock", " ".join(clock), "daily"],
        ["Rails", "Paint", "yearly"],
    ]


def test_rows_without_a_label_of_their_own_stay_rows() -> None:
    rows = [["Kind", "Item", "Colour"], ["Fruit", "Apple", "red"], ["", "Pear", "green"], ["Root", "Beet", "purple"]]
    places = (100, 330, 800)
    lines = [
        line(text, x, 100 + 40 * n) for n, row in enumerate(rows) for x, text in zip(places, row, strict=True) if text
    ]
    assert cells_of(lines) == rows
