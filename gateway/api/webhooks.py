"""Webhooks from the caller's side: the secret that signs them, every delivery, and sending one again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.api.responses import json_answer
from gateway.dependencies import CallerDep
from gateway.services import ServicesDep
from shared.contract import view
from shared.store import webhook_secrets as signing

router = APIRouter(prefix="/api/v1", tags=["webhooks"])


class PreviousSecret(BaseModel):
    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
    expires_at: str = Field(description="until then it signs beside the new one")


class Secret(BaseModel):
    """What a receiver verifies with, by Standard Webhooks 1.0. ``previous`` is not null while a secret rotates."""

    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
    previous: PreviousSecret | None


class WebhookView(BaseModel):
    """One event's webhook, with the same id on every try."""

    id: str = Field(description="the header webhook-id", examples=["msg_01JD0000000000000000000000_succeeded"])
    event: str = Field(examples=["job.succeeded"])
    url: str
    status: str = Field(description="pending, leased, sending, delivered, gone (410) or exhausted")
    tries: int
    created_at: str
    next_at: str | None = Field(description="when it is tried next")


class DeliveryView(BaseModel):
    """One try. ``error`` says why there was no status, or why it was not good enough."""

    number: int = Field(description="what to send again, from 1")
    webhook_id: str
    event: str
    at: str
    status_code: int | None
    error: str | None
    seconds: float | None = Field(description="how long it took; null when the sender was lost")


class DeliveriesView(BaseModel):
    webhooks: list[WebhookView]
    items: list[DeliveryView]


@router.get("/webhooks/secret", response_model=Secret, summary="The secret that signs webhooks", responses=answers(401))
async def get_secret(services: ServicesDep, caller: CallerDep) -> Response:
    """The caller's own, made at first need."""
    return _secret(await services.webhook_secrets.secrets(caller.owner))


@router.post(
    "/webhooks/secret/rotate", response_model=Secret, summary="Replace the secret", responses=answers(401, 403)
)
async def rotate_secret(services: ServicesDep, caller: CallerDep) -> Response:
    """A new secret. For 24 hours the old one signs beside it, so that receivers can be changed one by one."""
    return _secret(await services.webhook_secrets.rotate(caller.owner))


def _secret(known: signing.Secrets) -> Response:
    until = view.timestamp(known.previous_until)
    previous = {"secret": known.previous, "expires_at": until} if known.previous is not None else None
    return json_answer({"secret": known.current, "previous": previous})


@router.get(
    "/jobs/{job_id}/deliveries",
    response_model=DeliveriesView,
    summary="The job's webhooks",
    responses=answers(401, 404),
)
async def list_deliveries(job_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Every webhook of the job as it stands, and every try."""
    await services.store.job(job_id, caller.owner, pages=False)
    hooks = [
        {**hook.model_dump(), "created_at": view.timestamp(hook.created_at), "next_at": view.timestamp(hook.next_at)}
        for hook in await services.webhooks.webhooks(job_id)
    ]
    items = [
        {**delivery.model_dump(), "at": view.timestamp(delivery.at)}
        for delivery in await services.webhooks.deliveries(job_id)
    ]
    return json_answer({"webhooks": hooks, "items": items})


@router.post(
    "/jobs/{job_id}/deliveries/{number}/redeliver", response_model=DeliveriesView, status_code=202,
    summary="Send a webhook again", responses=answers(400, 401, 404, 429),
)  # fmt: skip
async def redeliver(
    job_id: str, number: Annotated[int, Path(ge=1, le=1_000_000)], services: ServicesDep, caller: CallerDep
) -> Response:
    """The webhook of that delivery, at once, with the same id and bytes; tried again by the schedule if it fails."""
    await services.store.job(job_id, caller.owner, pages=False)
    await services.webhooks.send_again(job_id, number)
    answer = await list_deliveries(job_id, services, caller)
    answer.status_code = 202
    return answer
