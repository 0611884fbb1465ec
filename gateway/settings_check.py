"""Faults of settings that only the code using them can find."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.auth.api_keys import given_keys
from gateway.settings import GatewaySettings
from shared.payloads.opening import check_payloads
from shared.sniff import allowed_types
from shared.ssrf_guard import Rules

CHECKS: dict[str, Callable[[GatewaySettings], object]] = {
    "allowed_extensions": lambda settings: allowed_types(settings.allowed_extensions),
    "api_keys": given_keys,
    "webhook_allow": Rules,
    "payloads_url": lambda settings: check_payloads(settings.payloads_url, settings.redis_url.get_secret_value()),
}


def faults(settings: GatewaySettings) -> Iterator[str]:
    """One line each: ``API_KEYS: ...``."""
    for name, check in CHECKS.items():
        try:
            check(settings)
        except ValueError as error:
            yield f"{name.upper()}: {error}"
