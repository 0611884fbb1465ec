"""The original API's stream: pages that are read in parallel, sent as one text in page order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.formats.markdown import comment
from shared.contract.document import PageResult, PageStatus

PAGE_GAP = "\n\n"  # between two pages, as in the Markdown


class TextStream:
    """Turns the events of the pages into pieces: ``{"text": ...}`` and ``{"reset": true}``.

    Only the first page that has not ended is sent as it is made; later ones are held back until their turn. The text
    sent so far is always a prefix of the whole text, unless a reset voids it and it is sent again.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)
        self._at = 0  # index of the page that is being sent
        self._partial: dict[int, str] = {}  # text so far of pages that have not ended
        self._ended: dict[int, str] = {}
        self._lost: set[int] = set()  # pages that have not ended and of which some text was missed
        self._sent = ""  # everything since the last reset
        self._page_begins = 0  # where in it the current page begins

    @property
    def _current(self) -> int | None:
        return self._numbers[self._at] if self._at < len(self._numbers) else None

    def token(self, page: int, text: str) -> Iterator[dict[str, Any]]:
        """More text of a page."""
        if page in self._ended or page in self._lost:
            return
        self._partial[page] = (self._partial.get(page, "") + text).lstrip("\n")
        if page == self._current:
            yield from self._send(self._partial[page])

    def restarted(self, page: int) -> Iterator[dict[str, Any]]:
        """Discard the text of a page that is read again."""
        self._lost.discard(page)
        self._partial.pop(page, None)
        if page == self._current:
            yield from self._void()

    def missed(self) -> Iterator[dict[str, Any]]:
        """Some events were missed: pages that have not ended are sent once they have."""
        self._lost.update(number for number in self._numbers if number not in self._ended)
        self._partial.clear()
        yield from self._void()

    def ended(self, page: PageResult) -> Iterator[dict[str, Any]]:
        """Take the result of a page."""
        if page.number in self._ended or page.number not in self._numbers:
            return
        self._ended[page.number] = comment(page) if page.status is PageStatus.FAILED else page.markdown.strip("\n")
        self._partial.pop(page.number, None)
        while self._current in self._ended:
            yield from self._send(self._ended[self._current])
            self._at += 1
            self._page_begins = len(self._sent)
        if self._current is not None:
            yield from self._send(self._partial.get(self._current, ""))

    def finished(self) -> Iterator[dict[str, Any]]:
        """End the last line of the document, as in the Markdown."""
        if self._sent and not self._sent.endswith("\n"):
            self._sent += "\n"
            yield {"text": "\n"}

    def _send(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the part of ``text`` not sent yet; nothing if what was sent is not a prefix of it."""
        sent = self._sent[self._page_begins :]
        wanted = PAGE_GAP + text if text and self._page_begins else text
        if wanted.startswith(sent) and wanted != sent:
            self._sent += wanted[len(sent) :]
            yield {"text": wanted[len(sent) :]}

    def _void(self) -> Iterator[dict[str, Any]]:
        before = self._sent[: self._page_begins]
        if self._sent == before:
            return
        self._sent = before
        yield {"reset": True}
        if before:
            yield {"text": before}
