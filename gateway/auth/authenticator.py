"""Identify the caller by key or token, limit the rate of each key, and decide whether a key is needed at all."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import secrets
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from gateway.auth.api_keys import DEFAULT_SCOPES, ApiKey, ApiKeys, Scope
from gateway.auth.url_tokens import Tokens
from gateway.settings import GatewaySettings
from gateway.shares import PREFIX as SHARE_PREFIX
from gateway.shares import Shares
from shared import log
from shared.contract.job import ANONYMOUS
from shared.errors import RateLimited, StoreUnavailable, Unauthorized
from shared.store.connect import Client, connect
from shared.store.scripts import Scripts

MINUTE_SECONDS: Final = 60
DAY_SECONDS: Final = 86400


@dataclass(frozen=True, slots=True)
class Caller:
    """``owner`` is what the caller's jobs are filed under; nobody sees another owner's. ``page_quota``: pages a day."""

    owner: str = ANONYMOUS
    page_quota: int | None = None
    scopes: frozenset[Scope] = DEFAULT_SCOPES


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Authenticator:
    def __init__(self, redis: Client, settings: GatewaySettings) -> None:
        self.keys = ApiKeys(redis, settings)
        self.tokens = Tokens(redis)
        self.shares = Shares(redis)
        self._settings = settings
        self._scripts = Scripts(redis)
        self._requires_key = not (is_loopback(settings.host) or settings.allow_anonymous)

    async def authenticate(self, request: Request) -> Caller:
        """Identify the caller. Raises ``Unauthorized`` and ``RateLimited``; sets the response's rate limit headers."""
        text = given_key(request)
        if text is None and (owner := await self._token_owner(request)) is not None:
            log.bind(key=owner)
            return await self._limit(request, ApiKey(owner, owner, owner, 0.0, scopes=frozenset({Scope.READ})))
        if not await self.requires_key():
            return Caller(scopes=frozenset(Scope) if is_loopback(self._settings.host) else DEFAULT_SCOPES)
        key = await self.keys.verify(text) if text is not None else None
        if key is None:
            raise Unauthorized()
        log.bind(key=key.id)
        return await self._limit(request, key)

    async def requires_key(self) -> bool:
        """Whether a key is needed. Once it is, it stays needed for the life of the process."""
        self._requires_key = self._requires_key or await self.keys.exist()
        return self._requires_key

    async def _token_owner(self, request: Request) -> str | None:
        token, job_id = request.query_params.get("token"), request.path_params.get("job_id")
        if not token or job_id is None or request.method != "GET":
            return None
        owner = await self._owner_of(token, job_id)
        if owner is None:
            raise Unauthorized("The token is not for this job, or no longer valid")
        return owner

    async def _owner_of(self, token: str, job_id: str) -> str | None:
        if token.startswith(SHARE_PREFIX):
            share = await self.shares.find(token)
            return share.owner if share is not None and share.job_id == job_id else None
        return await self.tokens.owner(token, job_id)

    async def _limit(self, request: Request, key: ApiKey) -> Caller:
        settings = self._settings
        rate, burst = key.rate or settings.rate_limit, key.burst or settings.rate_burst
        quota = key.pages or settings.page_quota
        operation = secrets.token_hex(8)
        reply = await self._scripts.run(
            "rate", key.owner, MINUTE_SECONDS / rate, burst, "" if quota is None else quota, operation
        )
        allowed, left, wait, reset, pages, day = reply
        policy, state = (
            [f'"requests";q={rate};w={MINUTE_SECONDS}'],
            [f'"requests";r={left};t={math.ceil(float(reset))}'],
        )
        if quota is not None:
            policy.append(f'"pages";q={quota};w={DAY_SECONDS}')
            state.append(f'"pages";r={int(pages)};t={day}')
        request.scope["limits"].update({"RateLimit-Policy": ", ".join(policy), "RateLimit": ", ".join(state)})
        if not allowed:
            raise RateLimited(f"This key may send {rate} requests a minute", retry_after=float(wait))
        return Caller(key.owner, quota, key.scopes)


def given_key(request: Request) -> str | None:
    """The key in ``Authorization: Bearer`` or ``X-API-Key``; None where there is neither."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    return request.headers.get("x-api-key") or None


def refusal(settings: GatewaySettings) -> str | None:
    """Explain why the gateway must not start: anyone who can reach it could use it. None when it may.

    A store that does not answer is no reason: until it does, a key is needed.
    """
    if is_loopback(settings.host) or settings.allow_anonymous:
        return None
    try:
        return None if asyncio.run(_keys_exist(settings)) else OPEN_TO_ALL.format(host=settings.host)
    except StoreUnavailable:
        return None


OPEN_TO_ALL: Final = (
    "HOST is {host} and there are no API keys, so anyone who reaches it could use it: make one with"
    " `python -m gateway.keys create NAME`, or set ALLOW_ANONYMOUS=true"
)


async def _keys_exist(settings: GatewaySettings) -> bool:
    redis = connect(settings.redis_url.get_secret_value(), patient=False)
    try:
        return await ApiKeys(redis, settings).exist()
    finally:
        await redis.aclose()
