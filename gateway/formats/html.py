"""A document as one small page: sanitised, since what an engine writes is decided by whoever made the upload."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape, unescape
from typing import Any

import nh3
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from gateway import csp
from gateway.formats.layout import Layout, text_of
from gateway.formats.parsing import MAX_FORMULA, only_markup, parser
from gateway.formats.source import PageWriter, written
from shared.contract.document import DocumentResult, PageResult, PageStatus

CSS = """
:root{color-scheme:light dark}
body{max-width:52rem;margin:0 auto;padding:1rem;font:1rem/1.6 system-ui,sans-serif;overflow-wrap:anywhere}
section+section{border-top:1px solid #8888;margin-top:2rem;padding-top:1rem}
img{max-width:100%;height:auto}table{border-collapse:collapse;display:block;overflow-x:auto}
th,td{border:1px solid #8888;padding:.25rem .5rem}pre{overflow-x:auto}
.note{border-left:.25rem solid #c60;padding-left:.5rem}
"""
CSP = csp.document_page(CSS)
MATHML = {
    "math",
    "mi",
    "mn",
    "mo",
    "ms",
    "mtext",
    "mspace",
    "mrow",
    "mfrac",
    "msqrt",
    "mroot",
    "mstyle",
    "merror",
    "mpadded",
    "mphantom",
    "menclose",
    "msub",
    "msup",
    "msubsup",
    "munder",
    "mover",
    "munderover",
    "mmultiscripts",
    "mprescripts",
    "none",
    "mtable",
    "mtr",
    "mtd",
}
MATH_ATTRIBUTES = {
    "display",
    "displaystyle",
    "scriptlevel",
    "mathvariant",
    "stretchy",
    "fence",
    "separator",
    "form",
    "lspace",
    "rspace",
    "accent",
    "accentunder",
    "linethickness",
    "columnalign",
    "rowspacing",
    "columnspacing",
    "columnlines",
    "rowlines",
    "notation",
    "width",
    "height",
    "depth",
    "minsize",
    "maxsize",
    "movablelimits",
    "largeop",
    "symmetric",
}
_TAGS = (nh3.ALLOWED_TAGS - {"map", "area"}) | MATHML
_ATTRIBUTES: dict[str, set[str]] = {
    **dict.fromkeys(MATHML, MATH_ATTRIBUTES),
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "li": {"value"},
    **{cell: {"colspan", "rowspan", "align", "scope"} for cell in ("td", "th")},
}
_FIGURE = re.compile(r"images/([A-Za-z0-9_-]+\.(?:jpg|jpeg|png|webp))", re.ASCII)
_CELL_MATH = re.compile(
    r"\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]|(?<![\d\\$])\$(?! )((?:\\.|[^$\n<\\]){1,500}?)(?<! )\$(?!\d)", re.DOTALL
)


class HtmlWriter(PageWriter):
    """A whole page; serve it with ``CSP``. ``images``: where its figures lie, relative or on the same origin."""

    def __init__(self, job_id: str, images: str = "images/", layout: Layout | None = None) -> None:
        self._job_id, self._images, self._layout = job_id, images, layout or Layout()
        self._parting = ""

    def begin(self) -> str:
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        title = f"<title>Document {escape(self._job_id)}</title>"
        return f'<!DOCTYPE html>\n<html lang="und"><head>{head}{title}<style>{CSS}</style></head>\n<body><main>\n'

    def page(self, page: PageResult) -> str:
        parting, self._parting = self._parting, "\n"
        return parting + _section(page, self._images, self._layout)

    def end(self) -> str:
        return "\n</main></body></html>\n"


def html(document: DocumentResult, images: str = "images/", layout: Layout | None = None) -> str:
    """The document as ``HtmlWriter`` writes it."""
    return written(HtmlWriter(document.job_id, images, layout), document.pages)


def _section(page: PageResult, images: str, layout: Layout) -> str:
    note = ""
    if page.status in {PageStatus.FAILED, PageStatus.DEGRADED}:
        note = f'<p class="note">Page {page.number}: {page.status} ({escape(page.reason or "unknown")})</p>\n'
    if corrections := sum(block.edited for block in page.blocks):
        note += f'<p class="note">Page {page.number}: {corrections} corrected by hand</p>\n'
    opening = f'<section id="page-{page.number}" aria-label="Page {page.number}">'
    return f"{opening}\n{note}{fragment(text_of(page, layout), images)}</section>"


def fragment(markdown: str, images: str = "images/") -> str:
    """Markdown to sanitised HTML without a page around it."""

    def checked(tag: str, name: str, value: str) -> str | None:
        if (tag, name) == ("img", "src"):
            match = _FIGURE.fullmatch(value)
            return images + match[1] if match else None
        return value or "figure" if (tag, name) == ("img", "alt") else value

    return nh3.clean(
        _markdown().render(markdown),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=checked,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


class _Renderer(RendererHTML):
    """The rules of our tokens; formulas become MathML."""

    def math_inline(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return mathml(tokens[index].content, display=False)

    def math_block(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return f"<p>{mathml(tokens[index].content, display=True)}</p>\n"

    def math_inline_double(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return mathml(tokens[index].content, display=True)

    math_block_label = amsmath = math_block

    def html_block(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return _CELL_MATH.sub(_cell_math, only_markup(tokens[index].content))

    def html_inline(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return only_markup(tokens[index].content)

    def list_item_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        # Markdown counts on from a list's first number; the page may not.
        if tokens[index].info:
            tokens[index].attrSet("value", tokens[index].info)
        return self.renderToken(tokens, index, options, env)

    def td_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        # The page's CSP allows no style attribute.
        style = str(tokens[index].attrs.pop("style", ""))
        if style:
            tokens[index].attrSet("align", style.removeprefix("text-align:"))
        return self.renderToken(tokens, index, options, env)

    th_open = td_open


def _cell_math(match: re.Match[str]) -> str:
    return mathml(unescape(next(group for group in match.groups() if group is not None)), display=False)


@cache
def _markdown() -> MarkdownIt:
    md = parser()
    md.renderer = _Renderer(md)
    return md


def mathml(latex: str, *, display: bool) -> str:
    """MathML, or the source as code where it cannot be read as LaTeX."""
    if len(latex) > MAX_FORMULA:
        return f"<code>{escape(latex)}</code>"
    try:
        return str(convert(latex.strip(), display="block" if display else "inline"))
    except Exception:  # noqa: BLE001 - the library names no base class, and leaks IndexError, RecursionError and others
        return f"<code>{escape(latex)}</code>"
