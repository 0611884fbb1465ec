"""The original API's stream: the pages of a job, read side by side, told as one text in the order of the pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.formats.markdown import comment
from shared.contract.document import Page, PageStatus

GAP = "\n\n"  # between two pages, as in the Markdown


class TextStream:
    """Turns what is heard of the pages into pieces: ``{"text": ...}`` and ``{"reset": true}``.

    Only the first page that has not ended is told as it is made; later ones are held back until their turn. What was
    told is always a prefix of the whole text, or voided by a reset and told again.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)
        self._at = 0  # index of the page that is being told
        self._heard: dict[int, str] = {}  # text so far of pages that have not ended
        self._ended: dict[int, str] = {}
        self._lost: set[int] = set()  # pages of whose text so far something was missed
        self._told = ""  # all there was, since the last reset
        self._page_begins = 0  # where in it the page that is being told begins

    @property
    def _current(self) -> int | None:
        return self._numbers[self._at] if self._at < len(self._numbers) else None

    def token(self, page: int, text: str) -> Iterator[dict[str, Any]]:
        """More text of a page."""
        if page in self._ended or page in self._lost:
            return
        self._heard[page] = (self._heard.get(page, "") + text).lstrip("\n")
        if page == self._current:
            yield from self._tell(self._heard[page])

    def restarted(self, page: int) -> Iterator[dict[str, Any]]:
        """What was heard of a page is void."""
        self._lost.discard(page)
        self._heard.pop(page, None)
        if page == self._current:
            yield from self._void()

    def missed(self) -> Iterator[dict[str, Any]]:
        """Some events are gone: pages that have not ended are told when they have."""
        self._lost.update(number for number in self._numbers if number not in self._ended)
        self._heard.clear()
        yield from self._void()

    def ended(self, page: Page) -> Iterator[dict[str, Any]]:
        """A page's result."""
        if page.number in self._ended or page.number not in self._numbers:
            return
        self._ended[page.number] = comment(page) if page.status is PageStatus.FAILED else page.markdown.strip("\n")
        self._heard.pop(page.number, None)
        while self._current in self._ended:
            yield from self._tell(self._ended[self._current])
            self._at += 1
            self._page_begins = len(self._told)
        if self._current is not None:
            yield from self._tell(self._heard.get(self._current, ""))

    def finished(self) -> Iterator[dict[str, Any]]:
        """The document's last line ends, as in the Markdown."""
        if self._told and not self._told.endswith("\n"):
            self._told += "\n"
            yield {"text": "\n"}

    def _tell(self, text: str) -> Iterator[dict[str, Any]]:
        """What of the current page's ``text`` has not been told. Where it was told otherwise, that stands."""
        told = self._told[self._page_begins :]
        wanted = GAP + text if text and self._page_begins else text
        if wanted.startswith(told) and wanted != told:
            self._told += wanted[len(told) :]
            yield {"text": wanted[len(told) :]}

    def _void(self) -> Iterator[dict[str, Any]]:
        before = self._told[: self._page_begins]
        if self._told == before:
            return
        self._told = before
        yield {"reset": True}
        if before:
            yield {"text": before}
