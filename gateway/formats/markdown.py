"""A document as one Markdown text."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.formats.layout import Layout, joint, text_of
from gateway.formats.source import PageWriter, written
from shared.contract.document import DocumentResult, PageResult, PageStatus

PARAGRAPH = "\n\n"


class MarkdownWriter(PageWriter):
    """Pages in order with a blank line between; a comment stands where a page failed or is degraded."""

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout or Layout()
        self._last: str | None = None  # the last paragraph so far: the next page may go on with it
        self._last_is_whole = False  # nothing of the page it stands on failed

    def page(self, page: PageResult) -> str:
        text, whole = text_of(page, self._layout), not _is_noted(page)
        joined = self._joined(text, page) if whole and self._last_is_whole else None
        self._last_is_whole = whole
        if joined is not None:
            return self._all_but_the_last(joined)
        parts = [part for part in (self._last, *_notes(page, self._layout), text) if part]
        return self._all_but_the_last(PARAGRAPH.join(parts)) if parts else ""

    def end(self) -> str:
        return (self._last or "") + "\n"

    def _joined(self, text: str, page: PageResult) -> str | None:
        if not self._layout.join_pages or self._last is None:
            return None
        return joint(self._last, text, mark_of(page) if self._layout.page_marks else "")

    def _all_but_the_last(self, paragraphs: str) -> str:
        before, parting, self._last = paragraphs.rpartition(PARAGRAPH)
        return before + parting


def markdown(document: DocumentResult, layout: Layout | None = None) -> str:
    """The document as ``MarkdownWriter`` writes it."""
    return written(MarkdownWriter(layout), document.pages)


def _notes(page: PageResult, layout: Layout) -> Iterator[str]:
    if layout.page_marks:
        yield mark_of(page)
    if _is_noted(page):
        yield comment(page)
    if corrections := sum(block.edited for block in page.blocks):
        yield f"<!-- page {page.number}: {corrections} corrected by hand -->"


def _is_noted(page: PageResult) -> bool:
    return page.status in {PageStatus.FAILED, PageStatus.DEGRADED}


def mark_of(page: PageResult) -> str:
    """``<!-- page 7 -->``"""
    return f"<!-- page {page.number} -->"


def comment(page: PageResult) -> str:
    """``<!-- page 7: failed (reason) -->``; a reason cannot end the comment."""
    reason = (page.reason or "unknown").replace("--", "- -").replace(">", "")
    return f"<!-- page {page.number}: {page.status} ({reason}) -->"
