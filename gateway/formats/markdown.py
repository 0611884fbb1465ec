"""A document as one Markdown text."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.formats.layout import Layout, joint, text_of
from shared.contract.document import Document, Page, PageStatus

PARAGRAPH = "\n\n"


def markdown(document: Document, layout: Layout | None = None) -> str:
    """Pages in order with a blank line between; a comment stands where a page failed or is degraded."""
    layout = layout or Layout()
    parts: list[str] = []
    for before, page in zip((None, *document.pages), document.pages, strict=False):
        text = text_of(page, layout)
        whole = layout.join_pages and parts and not _is_noted(page) and not (before and _is_noted(before))
        joined = joint(parts[-1], text, mark_of(page) if layout.page_marks else "") if whole else None
        if joined is not None:
            parts[-1] = joined
        else:
            parts += [part for part in (*_notes(page, layout), text) if part]
    return PARAGRAPH.join(parts) + "\n"


def _notes(page: Page, layout: Layout) -> Iterator[str]:
    if layout.page_marks:
        yield mark_of(page)
    if _is_noted(page):
        yield comment(page)
    if corrections := sum(block.edited for block in page.blocks):
        yield f"<!-- page {page.number}: {corrections} corrected by hand -->"


def _is_noted(page: Page) -> bool:
    return page.status in {PageStatus.FAILED, PageStatus.DEGRADED}


def mark_of(page: Page) -> str:
    """``<!-- page 7 -->``"""
    return f"<!-- page {page.number} -->"


def comment(page: Page) -> str:
    """``<!-- page 7: failed (reason) -->``; a reason cannot end the comment."""
    reason = (page.reason or "unknown").replace("--", "- -").replace(">", "")
    return f"<!-- page {page.number}: {page.status} ({reason}) -->"
