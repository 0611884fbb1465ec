"""Server-Sent Events: their wire format, and a response that cleans up whichever side ends it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

PING_SECONDS: Final = 15.0
PING: Final = ": ping\n\n"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def message(data: Mapping[str, Any], name: str | None = None, event_id: str | None = None) -> str:
    """One event; ``data`` as JSON in one line."""
    head = f"id: {event_id}\n" if event_id else ""
    head += f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


class EventStream(StreamingResponse):
    """``text/event-stream``. ``on_close`` is called once, also when the client left before the first byte."""

    def __init__(
        self, messages: AsyncIterator[str], headers: Mapping[str, str] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(messages, headers={**HEADERS, **(headers or {})}, media_type="text/event-stream")
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._on_close is not None:
                self._on_close()
