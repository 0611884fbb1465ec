"""What a document loader hands on: the text of each page, or of all, with where it stood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocr_client.document import Document, Page


def parts(document: Document, source: str, *, by_page: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Markdown and metadata. ``boxes``: type and pixels of each block, as left, top, right, bottom."""
    about = {"source": source, "job_id": document.job.id}
    if not by_page:
        yield document.markdown, {**about, "pages": [page.number for page in document.pages]}
        return
    for page in document.pages:
        yield page.markdown, {**about, "page": page.number, "boxes": _boxes(page)}


def _boxes(page: Page) -> list[dict[str, Any]]:
    return [{"type": block.type, "bbox": list(block.bbox)} for block in page.blocks]
