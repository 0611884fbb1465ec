"""The forms a document is handed out in. A new one: a member of ``Format``, its type, a function, a golden file."""

from __future__ import annotations

import re
from enum import StrEnum

from shared.errors import BadOption


class Format(StrEnum):
    MD = "md"
    JSON = "json"
    HTML = "html"
    TXT = "txt"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        """Without parameters: ``text/markdown``."""
        return _MEDIA_TYPES[self]

    @property
    def content_type(self) -> str:
        """The header's value: ``text/markdown; charset=utf-8``."""
        return f"{self.media_type}; charset=utf-8" if self.media_type.startswith("text/") else self.media_type


_MEDIA_TYPES = {
    Format.MD: "text/markdown",
    Format.JSON: "application/json",
    Format.HTML: "text/html",
    Format.TXT: "text/plain",
    Format.ZIP: "application/zip",
}
_RANGE = re.compile(r"\s*([\w.+*-]+/[\w.+*-]+)\s*(?:;(.*))?", re.ASCII)
_QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.ASCII | re.IGNORECASE)
MAX_ACCEPT = 2000  # characters read of an Accept header


def negotiate(accept: str | None, query: str | None = None) -> Format:
    """``?format=`` decides, else ``Accept`` (RFC 9110 12.5.1), else Markdown; ``BadOption`` for an unknown format."""
    if query is not None:
        if query not in set(Format):
            raise BadOption(f"format={query[:40]} is unknown; choose one of {', '.join(Format)}")
        return Format(query)
    ranges = _ranges(accept or "*/*")
    best = max(Format, key=lambda candidate: _quality(candidate.media_type, ranges))
    return best if _quality(best.media_type, ranges) > 0 else Format.MD


def _ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept[:MAX_ACCEPT].split(","):
        if match := _RANGE.fullmatch(part):
            quality = _QUALITY.search(match[2] or "")
            found[match[1].lower()] = min(float(quality[1]), 1.0) if quality else 1.0
    return found


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Of the most specific range that names the type."""
    kinds = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((ranges[kind] for kind in kinds if kind in ranges), 0.0)
