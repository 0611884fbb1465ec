"""Every format a result is handed out in. A new one is a module beside this and one line in ``FORMATS``.

The result endpoints, the OpenAPI document and the choice by ``Accept`` read this list; tests hold the client's choices,
the web page's downloads and the table in docs/api.md against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway import csp
from gateway.formats.archive import archive, as_json
from gateway.formats.html import CSP, html
from gateway.formats.layout import Layout
from gateway.formats.markdown import markdown
from gateway.formats.text import text
from shared.contract.document import Document


class Need(StrEnum):
    """Pictures that a format needs beside the document; they are fetched only for formats that do."""

    FIGURES = "figures"
    PAGES = "pages"


class Disposition(StrEnum):
    """Whether a browser shows the result or saves it; both name the file. None: it is shown, as a page."""

    INLINE = "inline"
    ATTACHMENT = "attachment"


@dataclass(frozen=True, slots=True)
class Source:
    """Everything a format may be made from. ``layout``: what the caller wants in the text.

    ``images``: where the figures are found, relative to the result's URL. ``figures``: JPEG by name, ``pages``: WebP
    by page number; both empty unless the format needs them.
    """

    document: Document
    layout: Layout = field(default_factory=Layout)
    images: str = "images/"
    figures: Mapping[str, bytes] = field(default_factory=dict)
    pages: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResultFormat:
    """``name`` is its word in ``?format=`` and the file's extension; ``media_type`` has no parameters."""

    name: str
    media_type: str
    render: Callable[[Source], str | bytes]
    needs: frozenset[Need] = frozenset()
    disposition: Disposition | None = Disposition.INLINE
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """The header's value: ``text/markdown; charset=utf-8``."""
        return f"{self.media_type}; charset=utf-8" if self.media_type.startswith("text/") else self.media_type


DEFAULT: Final = "md"


def _of(*formats: ResultFormat) -> dict[str, ResultFormat]:
    return {result_format.name: result_format for result_format in formats}


FORMATS: Final[dict[str, ResultFormat]] = _of(
    ResultFormat(DEFAULT, "text/markdown", lambda source: markdown(source.document, source.layout)),
    ResultFormat("json", "application/json", lambda source: as_json(source.document)),
    ResultFormat("html", "text/html", lambda source: html(source.document, source.images, source.layout),
             headers={csp.HEADER: CSP},
             disposition=None),
    ResultFormat("txt", "text/plain", lambda source: text(source.document, source.layout)),
    ResultFormat("zip", "application/zip", lambda source: archive(source.document, source.figures, source.layout),
             needs=frozenset({Need.FIGURES}), disposition=Disposition.ATTACHMENT),
)  # fmt: skip
