"""Page ranges: what they mean, and that a hostile one costs nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.page_range import choose, compact, parse
from shared.errors import BadPageRange


@pytest.mark.parametrize(
    ("text", "pages"), [("1-3,7", (1, 2, 3, 7)), ("7,1-2,2", (1, 2, 7)), (" 1 - 2 , 4 ", (1, 2, 4)), ("120", (120,)),
     ("118-", (118, 119, 120)), ("-1", (120,)), ("-3-", (118, 119, 120)), ("117--3", (117, 118)),
     ("-2--1", (119, 120))],
)  # fmt: skip
def test_read(text: str, pages: tuple[int, ...]) -> None:
    assert parse(text, pages=120) == pages


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        "0",
        "0-3",
        "121",
        "121-",
        "-121",
        "3-1",
        "-1-3",
        "-",
        "--1",
        "a",
        "1;2",
        "1.5",
        "٣",
        "9" * 400,
        "1-" + "9" * 30,
        "-0",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(BadPageRange) as failure:
        parse(text, pages=120)
    assert len(failure.value.detail) < 200


@pytest.mark.parametrize(
    "text", ["1," * 10**6, "1-120," * 10**5, "1\x00", "0x1", "1e3", "--", "1---2", "1-2-3"], ids=lambda text: text[:8]
)
def test_hostile_ones_are_refused(text: str) -> None:
    with pytest.raises(BadPageRange) as failure:
        parse(text, pages=120)
    assert len(failure.value.detail) < 200


@given(st.sets(st.integers(1, 2000), min_size=1))
def test_compact_is_the_inverse(pages: set[int]) -> None:
    assert parse(compact(pages), pages=2000) == tuple(sorted(pages))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1-3", (1, 2)), ("2-9999999", (2,)), ("1,7", (1,)), ("-5-", (1, 2)), ("2,3-", (2,))],
)
def test_pages_beyond_the_end_are_left_out_with_a_note(text: str, numbers: tuple[int, ...]) -> None:
    chosen = choose(text, pages=2)
    assert chosen.numbers == numbers
    assert chosen.note == "the document has 2 pages; others that were asked for are left out"


def test_no_note_where_every_page_is_there() -> None:
    assert choose("1-2,-1", pages=2).note is None
