"""A page that brings its own text: the PDF's text layer, taken when the caller prefers it."""

from __future__ import annotations

from shared.contract.document import Block
from worker.engines.base import PageImage, PageRead


def from_text_layer(page: PageImage) -> PageRead | None:
    """The text that the PDF carries, paragraph by paragraph, each with the whole page as its box; None without any."""
    text = (page.text_layer or "").replace("\r\n", "\n")
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    box = (0, 0, *page.image.size)
    blocks = tuple(Block(type="text", bbox=box, text=paragraph) for paragraph in paragraphs)
    return PageRead("\n\n".join(paragraphs), blocks) if paragraphs else None
