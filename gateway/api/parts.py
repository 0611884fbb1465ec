"""Pictures and figures in pieces: Range, If-Range, ETag and If-None-Match (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from gateway.api.responses import NO_STORE, NoStoreResponse, matches
from shared.errors import RangeNotSatisfiable
from shared.store.results import StoredPart

RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
"""One range. Several in one request are answered with the whole, as is what cannot be read."""


def part_response(request: Request, part: StoredPart, media_type: str) -> Response:
    """The part, or what the request wants of it. Raises ``RangeNotSatisfiable``."""
    tag = f'"{part.tag}"'
    headers = {**NO_STORE, "ETag": tag, "Accept-Ranges": "bytes"}
    if matches(request, tag):
        return NoStoreResponse(status_code=304, headers=headers)
    wanted = _wanted(request, part.size, tag)
    start, end = wanted or (0, part.size)
    headers["Content-Length"] = str(end - start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{part.size}"
    return StreamingResponse(part.stream(start, end), 206 if wanted else 200, headers, media_type)


def _wanted(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The first byte and the one after the last; None: all."""
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or found[0] == "bytes=-" or request.headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < int(first):
        return None
    if start >= size:
        raise RangeNotSatisfiable(f"There are {size} bytes")
    return start, end
