"""The secrets that sign webhooks (Standard Webhooks 1.0), one per owner, two while one is being replaced."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook

from shared.contract.job import ANONYMOUS
from shared.errors import Forbidden
from shared.settings import DeliverySettings
from shared.store.connect import Client
from shared.store.scripts import Scripts

SECRET_BYTES: Final = 32
OVERLAP_SECONDS: Final = 24 * 3600  # how long an old secret goes on to sign beside the new one


@dataclass(frozen=True, slots=True)
class Secrets:
    """``previous`` signs as well until ``previous_until`` (seconds since the epoch)."""

    current: str
    previous: str | None = None
    previous_until: float | None = None


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(known: Secrets, webhook_id: str, body: bytes, now: datetime | None = None) -> dict[str, str]:
    """The three headers of one try: signed at ``now`` (UTC) with every secret that is valid."""
    now = now or datetime.now(UTC)
    used = [known.current] + ([known.previous] if known.previous is not None else [])
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(one).sign(webhook_id, now, body.decode()) for one in used),
    }


class WebhookSecrets:
    def __init__(self, redis: Client, settings: DeliverySettings) -> None:
        self._scripts = Scripts(redis)
        self._given = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None

    async def secrets(self, owner: str) -> Secrets:
        """The owner's secret, made at first need."""
        if owner == ANONYMOUS and self._given is not None:
            return Secrets(self._given)
        return await self._ask(owner, "keep")

    async def rotate(self, owner: str) -> Secrets:
        """A new secret; the old one signs beside it for a day. Raises ``Forbidden`` where a setting decides."""
        if owner == ANONYMOUS and self._given is not None:
            raise Forbidden("The secret is given by the setting WEBHOOK_SECRET")
        return await self._ask(owner, "rotate")

    async def _ask(self, owner: str, what: str) -> Secrets:
        reply = await self._scripts.run("webhook_secret", owner, new_secret(), what, OVERLAP_SECONDS)
        current, previous, until = (part.decode() for part in reply)
        return Secrets(current, previous, float(until)) if previous else Secrets(current)
