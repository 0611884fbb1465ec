"""A document as one Markdown text."""

from __future__ import annotations

from shared.contract.document import Document, Page, PageStatus


def markdown(document: Document) -> str:
    """Pages in order with a blank line between; a comment stands where a page failed or is degraded."""
    return "\n\n".join(part for page in document.pages for part in _parts(page)) + "\n"


def _parts(page: Page) -> list[str]:
    text = page.markdown.strip("\n")
    noted = page.status in {PageStatus.FAILED, PageStatus.DEGRADED}
    return [part for part in (comment(page) if noted else "", text) if part]


def comment(page: Page) -> str:
    """``<!-- page 7: failed (reason) -->``; a reason cannot end the comment."""
    reason = (page.reason or "unknown").replace("--", "- -").replace(">", "")
    return f"<!-- page {page.number}: {page.status} ({reason}) -->"
