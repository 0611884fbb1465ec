"""Verify a webhook by Standard Webhooks 1.0, with nothing but the standard library."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from ocr_client.errors import ClientError

TOLERANCE_SECONDS = 300.0


class BadSignature(ClientError):
    """The webhook is not from the service, is too old, or was changed on its way."""


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance: float = TOLERANCE_SECONDS
) -> dict[str, Any]:
    """The event that ``body`` carries. ``secret``: ``whsec_…``. Raises ``BadSignature``.

    ``tolerance``: how many seconds the webhook may be old. Deliveries may repeat: ``webhook-id`` tells them apart.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (given[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        age = abs(time.time() - int(timestamp))
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (KeyError, ValueError, binascii.Error) as error:
        raise BadSignature(f"The webhook cannot be verified: {error!r}") from None
    if age > tolerance:
        raise BadSignature(f"The webhook is {age:.0f} s away from this machine's clock")
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in signatures.split()):
        raise BadSignature("The webhook's signature is not that of its body")
    event: dict[str, Any] = json.loads(body)
    return event
