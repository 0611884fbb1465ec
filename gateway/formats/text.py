"""A document as plain text: what the Markdown says, without its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from markdown_it.token import Token

from gateway.formats.parsing import only_markup, parser
from shared.contract.document import Document

_ENDS = {"paragraph_close": "\n\n", "heading_close": "\n\n", "tr_close": "\n", "table_close": "\n", "hr": "\n"}
_CELLS = {"th_close": "\t", "td_close": "\t"}


def text(document: Document) -> str:
    """Cells are parted by tabs, rows by lines, formulas are left as LaTeX, pictures by their description."""
    pages = (plain(page.markdown) for page in document.pages)
    return "\n\n".join(page for page in pages if page) + "\n"


def plain(markdown: str) -> str:
    written = "".join(_pieces(parser().parse(markdown)))
    lines = (line.rstrip() for line in written.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _pieces(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield from _inline(token.children or [])
        elif token.type == "html_block":
            yield strip_tags(only_markup(token.content)) + "\n\n"
        elif token.content:
            yield token.content.strip("\n") + "\n\n"
        elif token.type == "list_item_open":
            # A number is what the page says, a bullet a mark.
            yield f"{token.info}{token.markup} " if token.info else ""
        elif token.type == "paragraph_close" and token.hidden:
            yield "\n"
        else:
            yield _ENDS.get(token.type) or _CELLS.get(token.type, "\n" if token.type.endswith("_list_close") else "")


def _inline(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in {"softbreak", "hardbreak"}:
            yield "\n"
        elif token.type == "html_inline":
            yield strip_tags(only_markup(token.content))
        else:
            yield token.content


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kept.append("\n" if tag in {"br", "p", "div"} else "")

    def handle_endtag(self, tag: str) -> None:
        self.kept.append({"td": "\t", "th": "\t", "tr": "\n", "p": "\n", "div": "\n"}.get(tag, ""))

    def handle_data(self, data: str) -> None:
        self.kept.append(data)


def strip_tags(html: str) -> str:
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    return "".join(stripper.kept)
