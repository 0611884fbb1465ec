"""The webhook senders' own settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared.settings import DeliverySettings
from worker.settings import HeartbeatSettings


class WebhookSettings(DeliverySettings, HeartbeatSettings):
    """Read by the webhook senders."""

    webhook_ca_file: Path | None = Field(None, description="certificates of further authorities receivers may have")
