"""What a caller may leave out of a document, or have in it."""

from __future__ import annotations

import pytest

from gateway.formats.html import html
from gateway.formats.layout import Layout
from gateway.formats.markdown import markdown
from gateway.formats.text import text
from shared.contract.document import DocumentResult, PageBlock, PageResult, PageStatus


def page(number: int, *blocks: tuple[str, str], status: PageStatus = PageStatus.OK) -> PageResult:
    made = tuple(PageBlock(type=kind, bbox=(0, 0, 9, 9), text=said) for kind, said in blocks)
    return PageResult(number=number, status=status, markdown="\n\n".join(said for _, said in blocks), blocks=made)


def document(*pages: PageResult) -> DocumentResult:
    return DocumentResult(job_id="1", engine="instant", pages=pages)


def test_running_heads_and_page_numbers_can_be_left_out() -> None:
    one = page(1, ("header", "Report"), ("text", "Report"), ("text", "A\n\nB"), ("footer", "B"), ("page_number", "1"))
    layout = Layout(furniture=False)
    assert markdown(document(one), layout) == "Report\n\nA\n\nB\n"
    assert text(document(one), layout) == "Report\n\nA\n\nB\n"
    assert html(document(one), layout=layout).count("Report") == 1
    assert markdown(document(one)) == "Report\n\nReport\n\nA\n\nB\n\nB\n\n1\n"


@pytest.mark.parametrize(
    ("top", "said", "left_out"),
    [(960, "17", True), (10, "- 17 -", True), (960, "Page 3 of 9", True), (500, "17", False), (960, "Total 17", False)],
)
def test_a_number_alone_at_the_edge_is_the_pages(top: int, said: str, left_out: bool) -> None:
    blocks = (
        PageBlock(type="text", bbox=(0, 100, 9, 120), text="17"),
        PageBlock(type="text", bbox=(0, top, 9, top + 20), text=said),
    )
    one = PageResult(number=1, status=PageStatus.OK, width=700, height=1000, markdown=f"17\n\n{said}", blocks=blocks)
    assert markdown(document(one), Layout(furniture=False)) == ("17\n" if left_out else f"17\n\n{said}\n")


def test_a_block_that_is_no_paragraph_of_the_text_is_left_alone() -> None:
    one = PageResult(
        number=1, status=PageStatus.OK, markdown="Reports are long", blocks=page(1, ("header", "Report")).blocks
    )
    assert markdown(document(one), Layout(furniture=False)) == "Reports are long\n"


def test_pages_can_be_marked() -> None:
    pages = document(page(3, ("text", "A")), PageResult(number=4, status=PageStatus.FAILED, reason="timeout"))
    assert markdown(pages, Layout(page_marks=True)) == (
        "<!-- page 3 -->\n\nA\n\n<!-- page 4 -->\n\n<!-- page 4: failed (timeout) -->\n"
    )


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("It goes on over", "the break.", "It goes on over the break."),
        ("one, two,", "three", "one, two, three"),
        ("the unbe-", "kannte Größe", "the unbekannte Größe"),
        ("# Title\n\nIt goes", "on\n\nNew", "# Title\n\nIt goes on\n\nNew"),
        ("It ends.", "but begins small", None),
        ("It goes on", "Here", None),
        ("# A title", "and text", None),
        ("| a |", "and text", None),
        ("- an item", "and text", None),
        ("1. an item", "and text", None),
        ("text", "- an item", None),
        ("$$\nx\n$$", "is", None),
        ("", "is", None),
        ("text", "", None),
    ],
)
def test_paragraphs_can_be_joined_over_a_page_break(before: str, after: str, joined: str | None) -> None:
    pages = document(page(1, ("text", before)), page(2, ("text", after)))
    apart = "\n\n".join(part for part in (before, after) if part)
    assert markdown(pages, Layout(join_pages=True)) == f"{apart if joined is None else joined}\n"
    assert markdown(pages) == f"{apart}\n"


def test_a_mark_stands_in_the_paragraph_that_goes_on() -> None:
    layout = Layout(join_pages=True, page_marks=True)
    pages = [page(1, ("text", "goes")), page(2, ("text", "on and un-")), page(3, ("text", "der it"))]
    assert markdown(document(*pages), layout) == (
        "<!-- page 1 -->\n\ngoes <!-- page 2 --> on and under <!-- page 3 --> it\n"
    )


PRICES = "| Item | Price |\n| --- | --- |\n| Lamp | 1.50 |"


@pytest.mark.parametrize(
    ("after", "joined"),
    [
        ("| Item | Price |\n| --- | --- |\n| Rope | 9.95 |", f"{PRICES}\n| Rope | 9.95 |"),
        ("| Rope | 9.95 |\n| --- | --- |\n| Oil | 3 |\n\nEnd", f"{PRICES}\n| Rope | 9.95 |\n| Oil | 3 |\n\nEnd"),
        ("| Rope \\| net | € 9,95 |\n| --- | --- |", f"{PRICES}\n| Rope \\| net | € 9,95 |"),
        ("| Place | Keeper |\n| --- | --- |\n| Rope | 9.95 |", None),
        ("| Rope | 9.95 | 3 |\n| --- | --- | --- |\n| Oil | 3 | 1 |", None),
        ("| Item | Price |\n| --- | --- |", None),
        ("| Rope |\n| --- |\n| Oil | 3 |", None),
        ("Text", None),
    ],
)
def test_a_table_can_be_joined_over_a_page_break(after: str, joined: str | None) -> None:
    pages = document(page(1, ("table", PRICES)), page(2, ("table", after)))
    assert markdown(pages, Layout(join_pages=True)) == f"{joined or PRICES + chr(10) * 2 + after}\n"
    assert markdown(pages) == f"{PRICES}\n\n{after}\n"


def test_a_table_of_words_goes_on_only_where_its_head_does() -> None:
    words = "| Name | Town |\n| --- | --- |\n| Berg | Ulm |"
    other = "| Lind | Lund |\n| --- | --- |\n| Holm | Mora |"
    pages = document(page(1, ("table", words)), page(2, ("table", other)))
    assert markdown(pages, Layout(join_pages=True)) == f"{words}\n\n{other}\n"


def test_a_row_with_too_few_cells_is_no_reason_to_fail() -> None:
    pages = document(page(1, ("table", f"{PRICES}\n| Total |")), page(2, ("table", "| Rope | 2 |\n| --- | --- |")))
    assert markdown(pages, Layout(join_pages=True)) == f"{PRICES}\n| Total |\n| Rope | 2 |\n"


def test_a_mark_stands_in_the_first_cell_of_a_table_that_goes_on() -> None:
    pages = document(*(page(number, ("table", PRICES)) for number in (1, 2, 3)))
    row = "Lamp | 1.50 |"
    assert markdown(pages, Layout(join_pages=True, page_marks=True)) == (
        f"<!-- page 1 -->\n\n{PRICES}\n| <!-- page 2 --> {row}\n| <!-- page 3 --> {row}\n"
    )


def test_a_page_that_is_not_whole_is_joined_to_none() -> None:
    broken = page(2, ("text", "on and"), status=PageStatus.DEGRADED)
    pages = document(page(1, ("text", "goes")), broken, page(3, ("text", "on")))
    assert markdown(pages, Layout(join_pages=True)) == ("goes\n\n<!-- page 2: degraded (unknown) -->\n\non and\n\non\n")
