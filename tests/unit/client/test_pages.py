from __future__ import annotations

import pytest

from ocr_client.document_order import PageSequence, page_numbers
from ocr_client.models import Event


def ended(page: int, status: str = "ok") -> Event:
    return Event("1-0", "page.failed" if status == "failed" else "page.completed", {"page": page, "status": status})


@pytest.mark.parametrize(("text", "numbers"), [("1", [1]), ("1-3,7", [1, 2, 3, 7]), ("2,5-6", [2, 5, 6])])
def test_a_page_range_is_spelled_out(text: str, numbers: list[int]) -> None:
    assert page_numbers(text) == numbers


def test_pages_that_end_out_of_turn_come_in_turn() -> None:
    events = [
        ended(3),
        ended(1),
        Event("", "token", {"page": 2, "text": "x"}),
        ended(2, "failed"),
        Event("", "done", {}),
    ]
    order = PageSequence("1-3")
    assert [order.after(event) for event in events] == [[], [(1, "ok")], [], [(2, "failed"), (3, "ok")], []]


def test_after_a_gap_the_snapshot_tells_which_pages_have_ended() -> None:
    snapshot = Event("", "snapshot", {"pages": [{"number": 1, "status": "ok"}, {"number": 2, "status": "degraded"}]})
    order = PageSequence("1-3")
    assert order.after(snapshot) == [(1, "ok"), (2, "degraded")]
    assert order.after(ended(3)) == [(3, "ok")]
