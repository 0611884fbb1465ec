"""The body of a webhook: thin, under 20 kB, and without the text that was read."""

from __future__ import annotations

import json
from typing import Any, Final

from shared.contract import view
from shared.contract.job import StoredJob
from worker.webhooks.settings import WebhookSettings

LARGEST: Final = 20_000  # bytes, by the Standard Webhooks specification


def base_url(settings: WebhookSettings) -> str:
    """Where a receiver finds the gateway: ``public_url``, without which only this machine can be named."""
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    return (settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}").rstrip("/")


def build_body(event: str, created_at: float, job: StoredJob, settings: WebhookSettings) -> bytes:
    """``{"type", "timestamp", "data"}``; ``data`` is the job without its pages, as it was at the event.

    Where that would be too much, what the caller itself sent (metadata, prompt) is left out.
    """
    data = view.brief(job, base_url(settings)).model_dump(mode="json")
    body = _encode(event, created_at, data)
    if len(body) > LARGEST:
        body = _encode(event, created_at, data | {"metadata": {}, "options": data["options"] | {"prompt": None}})
    return body


def _encode(event: str, created_at: float, data: dict[str, Any]) -> bytes:
    envelope = {"type": event, "timestamp": view.timestamp(created_at), "data": data}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
