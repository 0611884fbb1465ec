"""Every format a result is handed out in. A new one is a module beside this and one line in ``FORMATS``.

The result endpoints, the OpenAPI document and the choice by ``Accept`` read this list; tests hold the client's choices,
the web page's downloads and the table in docs/api.md against it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway import csp
from gateway.formats.archive import archive
from gateway.formats.document_json import JsonWriter
from gateway.formats.html import CSP, HtmlWriter
from gateway.formats.markdown import MarkdownWriter
from gateway.formats.source import PageWriter, Source, text_pieces
from gateway.formats.text import TextWriter


class Disposition(StrEnum):
    """Whether a browser shows the result or saves it; both name the file. None: it is shown, as a page."""

    INLINE = "inline"
    ATTACHMENT = "attachment"


@dataclass(frozen=True, slots=True)
class ResultFormat:
    """``name`` is its word in ``?format=`` and the file's extension; ``media_type`` has no parameters.

    ``pieces``: the result in pieces, each as soon as the pages it is made of are known. ``has_figures``: the figures
    themselves are in it.
    """

    name: str
    media_type: str
    pieces: Callable[[Source], AsyncIterator[str | bytes]]
    has_figures: bool = False
    disposition: Disposition | None = Disposition.INLINE
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """The header's value: ``text/markdown; charset=utf-8``."""
        return f"{self.media_type}; charset=utf-8" if self.media_type.startswith("text/") else self.media_type


DEFAULT: Final = "md"


def _of(*formats: ResultFormat) -> dict[str, ResultFormat]:
    return {result_format.name: result_format for result_format in formats}


def _text(writer: Callable[[Source], PageWriter]) -> Callable[[Source], AsyncIterator[str]]:
    return lambda source: text_pieces(writer(source), source)


FORMATS: Final[dict[str, ResultFormat]] = _of(
    ResultFormat(DEFAULT, "text/markdown", _text(lambda source: MarkdownWriter(source.layout))),
    ResultFormat("json", "application/json", _text(lambda source: JsonWriter(source.job_id, source.engine))),
    ResultFormat("html", "text/html", _text(lambda source: HtmlWriter(source.job_id, source.images, source.layout)),
                 headers={csp.HEADER: CSP}, disposition=None),
    ResultFormat("txt", "text/plain", _text(lambda source: TextWriter(source.layout))),
    ResultFormat("zip", "application/zip", archive, has_figures=True, disposition=Disposition.ATTACHMENT),
)  # fmt: skip
