"""How far a stream of events has been read, and what is sent to resume it. Both clients use it."""

from __future__ import annotations

import json
from typing import Any

import httpx
from httpx_sse import ServerSentEvent

from ocr_client.errors import Problem
from ocr_client.models import Event

SILENCE_SECONDS = 45.0  # the service sends a comment every 15 s
RECONNECT_SECONDS = 3.0  # unless the service asks for another pause


class StreamPosition:
    """``pause``: seconds before a reconnection. ``over``: there are no more events."""

    def __init__(self, after: str | None) -> None:
        self.after, self.pause, self.over = after, RECONNECT_SECONDS, False

    @property
    def request(self) -> dict[str, Any]:
        """Arguments of the next connection."""
        headers = {"Last-Event-ID": self.after} if self.after else {}
        return {"headers": headers, "timeout": httpx.Timeout(SILENCE_SECONDS, connect=10.0)}

    def opened(self, response: httpx.Response) -> bool:
        """Whether there are events to be read. Raises ``Problem`` for a refusal, whose body has been read."""
        if not response.is_success:
            raise Problem.from_response(response)
        self.over = response.status_code == 204
        return not self.over

    def noted(self, message: ServerSentEvent) -> Event | None:
        """The event of the message; None for one that only keeps the connection open."""
        self.after = message.id or self.after
        self.pause = message.retry / 1000 if message.retry is not None else self.pause
        self.over = message.event == "done"
        return Event(message.id, message.event, json.loads(message.data)) if message.data else None
