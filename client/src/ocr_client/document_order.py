"""The pages of a job in document order, by number: each as soon as it and all before it have ended."""

from __future__ import annotations

from ocr_client.models import Event


def page_numbers(page_range: str) -> list[int]:
    """``1-3,7`` -> ``[1, 2, 3, 7]``."""
    spans = (part.partition("-") for part in page_range.split(","))
    return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]


class PageSequence:
    """Takes the events of a job and gives its pages in the document's order."""

    def __init__(self, page_range: str) -> None:
        self._waiting = page_numbers(page_range)[::-1]
        self._ended: dict[int, str] = {}

    def after(self, event: Event) -> list[tuple[int, str]]:
        """Number and status of the pages that now have ended with all before them.

        After a ``snapshot`` (events had been trimmed away) the pages come from it.
        """
        self._ended.update((page.number, page.status) for page in event.ended_pages)
        found: list[tuple[int, str]] = []
        while self._waiting and self._waiting[-1] in self._ended:
            number = self._waiting.pop()
            found.append((number, self._ended[number]))
        return found
