"""Choosing a format: ``?format=``, else ``Accept`` (RFC 9110 12.5.1), else Markdown."""

from __future__ import annotations

import re

from gateway.formats.registry import DEFAULT, FORMATS, ResultFormat
from shared.errors import BadOption

_RANGE = re.compile(r"\s*([\w.+*-]+/[\w.+*-]+)\s*(?:;(.*))?", re.ASCII)
_QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.ASCII | re.IGNORECASE)
MAX_ACCEPT_CHARS = 2000  # characters read of an Accept header


def negotiate(accept: str | None, query: str | None = None, default: str = DEFAULT) -> ResultFormat:
    """Choose the format. Raises ``BadOption`` for an unknown ``query``; ignores an impossible ``Accept``."""
    if query is not None:
        if query not in FORMATS:
            raise BadOption(f"format={query[:40]} is unknown; choose one of {', '.join(FORMATS)}")
        return FORMATS[query]
    ranges = _ranges(accept or "*/*")
    candidates = [FORMATS[default], *FORMATS.values()]  # of equals, max takes the first
    return max(candidates, key=lambda candidate: _quality(candidate.media_type, ranges))


def _ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept[:MAX_ACCEPT_CHARS].split(","):
        if match := _RANGE.fullmatch(part):
            quality = _QUALITY.search(match[2] or "")
            found[match[1].lower()] = min(float(quality[1]), 1.0) if quality else 1.0
    return found


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """The quality of the most specific range that names the type."""
    kinds = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((ranges[kind] for kind in kinds if kind in ranges), 0.0)
