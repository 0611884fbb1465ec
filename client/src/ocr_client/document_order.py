"""The pages of a job in document order, by number: each as soon as it and all before it have ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ocr_client.models import Event


def page_numbers(page_range: str) -> list[int]:
    """``1-3,7`` -> ``[1, 2, 3, 7]``."""
    spans = (part.partition("-") for part in page_range.split(","))
    return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]


def in_order(page_range: str, events: Iterable[Event]) -> Iterator[tuple[int, str]]:
    """Number and status of every page that ended, in the document's order, while the events come in.

    After a ``snapshot`` (events had been trimmed away) the pages come from it.
    """
    waiting = page_numbers(page_range)[::-1]
    ended: dict[int, str] = {}
    for event in events:
        ended.update((page.number, page.status) for page in event.ended_pages)
        while waiting and waiting[-1] in ended:
            number = waiting.pop()
            yield number, ended[number]
