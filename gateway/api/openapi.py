"""What FastAPI cannot see by itself: the multipart forms, read by hand so that a refusal comes before the upload."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway.api.forms import WEBHOOK_EVENTS
from gateway.api.problems import ProblemDetails
from shared.contract.options import Mode, Priority, ReadType, TextLayer

FILE: Final = {
    "type": "string",
    "format": "binary",
    "description": "a PDF, or a picture: JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF, JPEG 2000, HEIC",
}
TYPE: Final = {"type": "string", "enum": [*ReadType], "default": "document", "description": "what the picture is"}
PASSWORD: Final = {"type": "string", "maxLength": 127, "format": "password", "description": "of a PDF that needs one"}
PROMPT: Final = {"type": "string", "maxLength": 2000, "description": "instead of the one that `type` stands for"}

OPTIONS: Final[dict[str, Any]] = {
    "type": TYPE,
    "prompt": PROMPT,
    "mode": {"type": "string", "enum": [*Mode], "description": "resolution, where the engine has modes"},
    "pages": {"type": "string", "example": "1", "description": "such as 1-3,7; default: all"},
    "priority": {"type": "string", "enum": [*Priority], "default": "normal"},
    "text_layer": {
        "type": "string",
        "enum": [*TextLayer],
        "default": "ignore",
        "description": "`prefer`: a PDF page gives its own text where that accounts for all that is drawn",
    },
    "password": PASSWORD,
    "webhook_url": {"type": "string", "format": "uri", "maxLength": 2048, "description": "https, of a public receiver"},
    "webhook_events": {
        "type": "string",
        "example": "job.succeeded,job.failed",
        "description": f"some of {', '.join(WEBHOOK_EVENTS)}; default: all but job.started",
    },
    "deadline": {"type": "number", "exclusiveMinimum": 0, "description": "seconds from now, time in the queue counted"},
    "metadata": {"type": "string", "example": '{"order": 17}', "description": "a JSON object, echoed back"},
}

IDEMPOTENCY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-\\[\\]-~]+$"},
    "description": "the same key and the same payload give the same job again",
}
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "example": "wait=30",
    "description": "`wait=N`: hold the answer back for up to N seconds (1-60)",
}


def form(properties: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}, "parameters": list(parameters)}


JOB_FORM: Final = form({"file": FILE, **OPTIONS}, IDEMPOTENCY, PREFER)
BATCH_FORM: Final = form({"file": {"type": "array", "items": FILE, "minItems": 1}, **OPTIONS}, IDEMPOTENCY)
STREAM: Final = {
    "type": "string",
    "enum": ["true", "false", "1", "0"],
    "default": "true",
    "description": "events as the text is made, or one answer",
}
READ_FORM: Final = form({"file": FILE, "type": TYPE, "prompt": PROMPT, "password": PASSWORD, "stream": STREAM})


Responses = dict[int | str, dict[str, Any]]


def header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


RETRY_AFTER: Final = header("seconds after which to ask again")
LOCATION: Final = header("URL of the job")
ETAG: Final = header("changes when anything but the estimate of the time left does")


def created(model: type[BaseModel]) -> Responses:
    """202 with the thing that was made, and 200 where it had already ended in the time the caller waited."""
    headers = {"Location": LOCATION, "Retry-After": RETRY_AFTER}
    return {
        200: {"model": model, "description": "ended within the wait"},
        202: {"model": model, "description": "accepted", "headers": headers},
    }


def etagged(model: type[BaseModel]) -> Responses:
    return {
        200: {"model": model, "headers": {"ETag": ETAG, "Retry-After": RETRY_AFTER}},
        304: {"description": "not changed since the ETag in If-None-Match"},
    }


TEXT: Final = {"type": "string"}
EVENT: Final = {
    "type": "object",
    "properties": {"data": TEXT, "event": TEXT, "id": TEXT, "retry": {"type": "integer"}},
}


def content(*types: str) -> dict[str, Any]:
    return {kind: {"schema": EVENT if kind == "text/event-stream" else TEXT} for kind in types}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once: FastAPI's, with problems in the place of its own validation errors."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in made["paths"].values():
            for operation in path.values():
                _without_validation_error(operation["responses"])
        app.openapi_schema = made
    return app.openapi_schema


def _without_validation_error(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
