"""Webhooks in Redis: which are due, who sends them, what became of every delivery.

The transition of a job writes the webhook down in its own atomic step (``shared/lua/include/outbox.lua``); from there
on each change is one script of ``shared/lua/webhooks``, fenced by the lease's token. A *delivery* is one try.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.contract.document import Frozen
from shared.contract.job import ANONYMOUS, StoredJob, read_job
from shared.contract.record import WebhookRecord
from shared.contract.states import WebhookStatus
from shared.errors import NotFound, RateLimited
from shared.settings import DeliverySettings
from shared.store import keyspace
from shared.store.connect import Client, store_errors
from shared.store.message import message
from shared.store.scripts import Scripts, pairs

QUEUE: Final = keyspace.QUEUE_OF_WEBHOOKS()
TASK: Final = "webhooks.send"
SLACK: Final = 15.0  # seconds a lease lasts beyond the timeout: time in the queue, time to write down the outcome
JITTER: Final = 0.2  # of the wait: receivers that came back do not meet all their tries at once
RETRY_AFTER_MOST: Final = 24 * 3600.0
BREAKER_MOST: Final = 600.0
AGAIN_MOST: Final = 100  # times one webhook may be sent again by hand


class WebhookOutcome(StrEnum):
    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Lease:
    """A sender's right to one delivery of a webhook; a stale ``token`` writes nothing."""

    webhook_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook whose try ``tries`` (from 1) has begun. ``body`` is None until it has been built and kept."""

    lease: Lease
    url: str
    event: str
    owner: str
    created_at: float
    tries: int
    body: bytes | None
    job_fields: dict[str, str]
    job_id: str = ""
    request_id: str | None = None
    traceparent: str | None = None

    def job(self) -> StoredJob:
        """The job as it was at the transition that this webhook tells of."""
        return read_job(self.job_fields, {}, None, self.created_at)

    @property
    def key(self) -> str | None:
        """The key id, for logs."""
        return None if self.owner == ANONYMOUS else self.owner


@dataclass(frozen=True, slots=True)
class Ended:
    """How a delivery ended. ``status_code``: the receiver's; ``retry_after``: what it asked for. Both in seconds."""

    outcome: WebhookOutcome
    seconds: float
    status_code: int | None = None
    error: str | None = None
    retry_after: float | None = None


class WebhookState(Frozen):
    """A webhook as it stands: pending, leased, sending, delivered, gone (410) or exhausted. ``next_at``: next try."""

    id: str
    event: str
    url: str
    status: WebhookStatus
    tries: int
    created_at: float
    next_at: float | None


class Delivery(Frozen):
    """One try, ``number`` from 1 within its job. ``error`` says in a word why it failed before any status."""

    number: int = 0  # it is where the entry stands in the list, and not stored
    webhook_id: str
    event: str
    at: float
    status_code: int | None
    error: str | None
    seconds: float | None = None


class WebhookStore:
    def __init__(self, redis: Client, settings: DeliverySettings) -> None:
        self.redis = redis
        self.settings = settings
        self.scripts = Scripts(redis)
        self._random = random.Random()  # noqa: S311 - spreads tries in time, no secret

    @property
    def lease_seconds(self) -> float:
        return self.settings.webhook_timeout + SLACK

    # -- a sender's side

    async def take(self, most: int = 100) -> list[Lease]:
        """Lease what is due and may go now. Call again when something came back."""
        limits = self.settings
        flat = await self.scripts.run(
            "webhook_take", most, self.lease_seconds, limits.webhook_in_flight, limits.webhook_endpoint_in_flight,
            max(2 * limits.webhook_endpoint_in_flight, limits.webhook_in_flight // 2), len(limits.webhook_schedule),
            uuid.uuid4().hex,
        )  # fmt: skip
        return [Lease(flat[i].decode(), int(flat[i + 1])) for i in range(0, len(flat), 2)]

    async def dispatch(self) -> int:
        """Move what is due to the senders' queue; how many. A message lost there is due again with its lease."""
        leases = await self.take()
        messages = [
            message(TASK, QUEUE, f"{lease.webhook_id}-{lease.token}", [lease.webhook_id, lease.token])
            for lease in leases
        ]
        if messages:
            with store_errors():
                await self.redis.lpush(QUEUE, *messages)
        return len(leases)

    async def begin(self, lease: Lease) -> Due | None:
        """Count this try; None when the lease is no longer the caller's."""
        operation = uuid.uuid4().hex
        flat = await self.scripts.run("webhook_begin", lease.webhook_id, lease.token, self.lease_seconds, operation)
        if not flat:
            return None
        record = WebhookRecord.model_validate(pairs([part.decode() for part in flat]))
        body = record.body.encode() if record.body is not None else None
        return Due(
            lease, record.url, record.event, record.owner, record.created_at, record.tries, body, record.job_fields,
            record.job, record.request_id, record.traceparent,
        )  # fmt: skip

    async def keep_body(self, lease: Lease, body: bytes) -> None:
        """Every try sends the same bytes."""
        await self.scripts.run("webhook_body", lease.webhook_id, lease.token, body)

    async def end(self, due: Due, ended: Ended) -> str:
        """Write the delivery down and set the next try, if there is one: the webhook's state, empty when fenced off."""
        wait = self.retry_delay(due.tries, ended.retry_after) if ended.outcome is WebhookOutcome.FAILED else None
        limits = self.settings
        reply = await self.scripts.run(
            "webhook_end", due.lease.webhook_id, due.lease.token, ended.outcome.value, ended.status_code or "",
            ended.error or "", round(ended.seconds, 3), "" if wait is None else wait,
            limits.webhook_breaker_failures, limits.webhook_breaker_seconds, BREAKER_MOST,
        )  # fmt: skip
        return str(reply.decode())

    def retry_delay(self, tries: int, retry_after: float | None) -> float | None:
        """Seconds from the failure of try ``tries`` to the next; None when that was the last."""
        if tries >= len(self.settings.webhook_schedule):
            return None
        wait = self.settings.webhook_schedule[tries] * (1 + JITTER * self._random.random())
        return max(wait, min(retry_after or 0.0, RETRY_AFTER_MOST))

    # -- a caller's side

    async def webhooks(self, job_id: str) -> list[WebhookState]:
        """The job's webhooks in the order of their events."""
        with store_errors():
            ids = await self.redis.lrange(keyspace.WEBHOOKS_OF_JOB(job_id), 0, -1)
            found = [await self.redis.hgetall(keyspace.WEBHOOK(one.decode())) for one in ids]
        return [_state(name.decode(), fields) for name, fields in zip(ids, found, strict=True) if fields]

    async def deliveries(self, job_id: str) -> list[Delivery]:
        with store_errors():
            entries = await self.redis.lrange(keyspace.DELIVERIES(job_id), 0, -1)
        return [_delivery(entry, number) for number, entry in enumerate(entries, 1)]

    async def send_again(self, job_id: str, number: int) -> None:
        """Send the webhook of delivery ``number`` again, now, with a schedule of its own.

        Nothing happens while it is being sent. Raises ``NotFound`` and ``RateLimited``.
        """
        with store_errors():
            entry = await self.redis.lindex(keyspace.DELIVERIES(job_id), number - 1) if number > 0 else None
        if entry is None:
            raise NotFound("No such delivery")
        await self.again(_delivery(entry, number).webhook_id)

    async def again(self, webhook_id: str) -> None:
        """Send this webhook again, as ``send_again``."""
        reply = await self.scripts.run("webhook_again", webhook_id, AGAIN_MOST, uuid.uuid4().hex)
        verdict = reply.decode()
        if verdict == "gone":
            raise NotFound("The webhook is no longer kept")
        if verdict == "often":
            raise RateLimited(f"A webhook may be sent again {AGAIN_MOST} times", retry_after=RETRY_AFTER_MOST)


def _delivery(entry: bytes, number: int) -> Delivery:
    return Delivery.model_validate_json(entry).model_copy(update={"number": number})


def _state(webhook_id: str, fields: Mapping[bytes, bytes]) -> WebhookState:
    record = WebhookRecord.model_validate({name.decode(): value.decode() for name, value in fields.items()})
    pending = record.status is WebhookStatus.PENDING
    return WebhookState(
        id=webhook_id,
        event=record.event,
        url=record.url,
        status=record.status,
        tries=record.tries,
        created_at=record.created_at,
        next_at=(record.next_at or record.created_at) if pending else None,
    )
