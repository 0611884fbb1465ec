"""Events and webhooks in the OpenAPI document: a named schema for each event, and the calls that receivers get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.forms import WEBHOOK_EVENTS
from shared.contract.events import STORED_EVENTS, EventName
from shared.contract.job import Queue
from shared.contract.view import JobBrief, JobView

SCHEMAS: Final = "#/components/schemas/"
UNION: Final = "JobEvent"
DATA: Final[Mapping[str, type[BaseModel]]] = {**STORED_EVENTS, EventName.QUEUE: Queue, EventName.SNAPSHOT: JobView}
"""Name of an event -> the record that is its data."""
WEBHOOK_BODY: Final = "WebhookBody"
WEBHOOK_HEADERS: Final[Mapping[str, str]] = {
    "webhook-id": "the same for every attempt; deduplicate on it",
    "webhook-timestamp": "seconds since 1970, of this attempt",
    "webhook-signature": "`v1,` and the HMAC-SHA256 of id, timestamp and body (Standard Webhooks)",
}
NOT_GENERATED: Final = "x-internal"
"""openapi-generator leaves these out; of a webhook that it takes in, it writes a client that is no Python."""


def schema_name(event: str) -> str:
    """``page.completed`` -> ``PageCompletedEvent``."""
    return "".join(word.capitalize() for word in event.split(".")) + "Event"


def _meaning(event: str) -> str:
    return next(name.__doc__ or "" for name in EventName if name == event)


def event_schemas() -> dict[str, Any]:
    """The union of all events of a job's stream, its members, and the records that are their data."""
    _, made = models_json_schema(
        [(model, "serialization") for model in DATA.values()], ref_template=SCHEMAS + "{model}"
    )
    found: dict[str, Any] = dict(made["$defs"])
    for event, model in DATA.items():
        found[schema_name(event)] = {
            "type": "object",
            "description": _meaning(event),
            "required": ["event", "data"],
            "properties": {
                "id": {"type": "string", "description": "for Last-Event-ID; events that the gateway makes have none"},
                "event": {"type": "string", "const": str(event)},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": SCHEMAS + model.__name__},
                },
                "retry": {"type": "integer", "description": "milliseconds before a reconnection; of the first event"},
            },
        }
    names = {str(event): SCHEMAS + schema_name(event) for event in DATA}
    found[UNION] = {
        "description": "One event of a job's stream; `data` is the JSON of its record.",
        "oneOf": [{"$ref": name} for name in names.values()],
        "discriminator": {"propertyName": "event", "mapping": names},
    }
    return found


def webhook_schemas() -> dict[str, Any]:
    properties = {
        "type": {"type": "string", "enum": list(WEBHOOK_EVENTS)},
        "timestamp": {"type": "string", "format": "date-time", "description": "of the event"},
        "data": {"$ref": SCHEMAS + JobBrief.__name__},
    }
    description = "The job as it was at the event, without its pages and text."
    body = {"type": "object", "required": list(properties), "properties": properties, "description": description}
    return {WEBHOOK_BODY: body}


def webhooks() -> dict[str, Any]:
    """What this service calls: one entry for each event that a job's ``webhook_url`` can be told."""
    return {event: {"post": _webhook(event)} for event in WEBHOOK_EVENTS}


def _webhook(event: str) -> dict[str, Any]:
    words = event.split(".")
    return {
        "operationId": "on" + "".join(word.capitalize() for word in words),
        "summary": f"A job has {words[-1]}" if event != "job.cancelled" else "A job was cancelled",
        "tags": ["webhooks"],
        "security": [],
        NOT_GENERATED: True,
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in WEBHOOK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": SCHEMAS + WEBHOOK_BODY}}},
        },
        "responses": {
            "2XX": {"description": "delivered; the body is ignored"},
            "410": {"description": "never retried; any other response is"},
        },
    }
