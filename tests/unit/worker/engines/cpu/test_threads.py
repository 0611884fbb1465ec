"""Pages side by side, and idle threads that help with a page's lines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from worker.engines.cpu.threads import Threads

WAIT = 10


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(3)
    yield made
    made.close()


def test_results_come_in_order(threads: Threads) -> None:
    assert threads.page(lambda: threads.each(lambda i: i * i, 50)).result(WAIT) == [i * i for i in range(50)]
    assert threads.page(lambda: threads.each(lambda i: i, 0)).result(WAIT) == []


def test_idle_threads_take_some_of_a_lone_pages_lines(threads: Threads) -> None:
    met = threading.Barrier(3)

    def together(i: int) -> int:
        if i < 3:
            met.wait(WAIT)  # passes only if three lines are read at once
        return i

    assert threads.page(lambda: threads.each(lambda i: together(i - 1) if i else 0, 10)).result(WAIT)


def test_pages_are_read_side_by_side(threads: Threads) -> None:
    met = threading.Barrier(3)
    pages = [threads.page(lambda: met.wait(WAIT)) for _ in range(3)]
    assert sorted(page.result(WAIT) for page in pages) == [0, 1, 2]


def test_a_helper_leaves_when_a_page_needs_its_thread(threads: Threads) -> None:
    came = threading.Event()
    others: list[Future[None]] = []

    def line(i: int) -> int:
        if i == 3:
            others.extend(threads.page(came.set) for _ in range(2))
        if i > 10:
            assert came.wait(WAIT)  # though this page still has lines, the others got threads
        return i

    assert threads.page(lambda: threads.each(line, 40)).result(WAIT) == list(range(40))
    assert all(other.result(WAIT) is None for other in others)


@pytest.mark.parametrize("place", [0, 20])
def test_an_error_in_any_thread_is_the_pages(threads: Threads, place: int) -> None:
    def line(i: int) -> int:
        if i == place:
            raise ValueError("no")
        return i

    with pytest.raises(ValueError, match="no"):
        threads.page(lambda: threads.each(line, 40)).result(WAIT)
    assert threads.page(lambda: threads.each(lambda i: i, 4)).result(WAIT) == [0, 1, 2, 3]
