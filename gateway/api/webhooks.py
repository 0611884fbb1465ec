"""Webhooks for the caller: the secret that signs them, every delivery, and sending one again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import CallerDep, StoreDep, WebhookSecretsDep, WebhookStoreDep
from shared.contract import view
from shared.store import webhook_secrets as signing
from shared.store.webhooks import Delivery, WebhookState, WebhookStore

router = APIRouter(prefix="/api/v1", tags=["webhooks"])


class PreviousSecret(BaseModel):
    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
    expires_at: str = Field(description="until then it signs beside the new one")


class Secret(BaseModel):
    """The key of a receiver's verification, by Standard Webhooks 1.0. ``previous``: not null while it rotates."""

    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
    previous: PreviousSecret | None

    @classmethod
    def of(cls, known: signing.Secrets) -> Secret:
        until, previous = view.timestamp(known.previous_until) or "", known.previous
        return cls(
            secret=known.current,
            previous=None if previous is None else PreviousSecret(secret=previous, expires_at=until),
        )


class WebhookView(BaseModel):
    """One event's webhook, with the same id on every try."""

    id: str = Field(description="the header webhook-id", examples=["msg_01JD0000000000000000000000_succeeded"])
    event: str = Field(examples=["job.succeeded"])
    url: str
    status: str = Field(description="pending, leased, sending, delivered, gone (410) or exhausted")
    tries: int
    created_at: str
    next_at: str | None = Field(description="when it is tried next")

    @classmethod
    def of(cls, webhook: WebhookState) -> WebhookView:
        times = {"created_at": view.timestamp(webhook.created_at), "next_at": view.timestamp(webhook.next_at)}
        return cls.model_validate(webhook.model_dump() | times)


class DeliveryView(BaseModel):
    """One try. ``error`` says why there was no status, or why it was not good enough."""

    number: int = Field(description="what to send again, from 1")
    webhook_id: str
    event: str
    at: str
    status_code: int | None
    error: str | None
    seconds: float | None = Field(description="how long it took; null when the sender was lost")

    @classmethod
    def of(cls, delivery: Delivery) -> DeliveryView:
        return cls.model_validate(delivery.model_dump() | {"at": view.timestamp(delivery.at)})


class DeliveriesView(BaseModel):
    webhooks: list[WebhookView]
    items: list[DeliveryView]


@router.get("/webhooks/secret", summary="Get the webhook secret", responses=answers(401))
async def get_secret(caller: CallerDep, secrets: WebhookSecretsDep) -> Secret:
    """The caller's own, made at first need."""
    return Secret.of(await secrets.secrets(caller.owner))


@router.post("/webhooks/secret/rotate", summary="Rotate the webhook secret", responses=answers(401, 403))
async def rotate_secret(caller: CallerDep, secrets: WebhookSecretsDep) -> Secret:
    """A new secret. For 24 hours the old one signs beside it, so that receivers can be changed one by one."""
    return Secret.of(await secrets.rotate(caller.owner))


@router.get("/jobs/{job_id}/deliveries", summary="List webhook deliveries", responses=answers(401, 404))
async def list_deliveries(job_id: str, caller: CallerDep, store: StoreDep, webhooks: WebhookStoreDep) -> DeliveriesView:
    """Every webhook of the job as it stands, and every try."""
    await store.job(job_id, caller.owner, pages=False)
    return await _deliveries(webhooks, job_id)


@router.post(
    "/jobs/{job_id}/deliveries/{number}/redeliver", status_code=202, summary="Redeliver a webhook",
    responses=answers(400, 401, 404, 429),
)  # fmt: skip
async def redeliver(
    job_id: str,
    number: Annotated[int, Path(ge=1, le=1_000_000)],
    caller: CallerDep,
    store: StoreDep,
    webhooks: WebhookStoreDep,
) -> DeliveriesView:
    """The webhook of that delivery, at once, with the same id and bytes; tried again by the schedule if it fails."""
    await store.job(job_id, caller.owner, pages=False)
    await webhooks.send_again(job_id, number)
    return await _deliveries(webhooks, job_id)


async def _deliveries(webhooks: WebhookStore, job_id: str) -> DeliveriesView:
    return DeliveriesView(
        webhooks=[WebhookView.of(webhook) for webhook in await webhooks.webhooks(job_id)],
        items=[DeliveryView.of(delivery) for delivery in await webhooks.deliveries(job_id)],
    )
