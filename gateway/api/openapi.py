"""The parts of the OpenAPI document that FastAPI cannot derive: forms, result formats, headers and problems.

The forms are read by hand, so that a refusal comes before the upload; their schemas follow from ``forms.FIELDS`` and
the settings. A route marks what is to be filled in (``MULTIPART``, ``FORMATS_HERE``); ``describe`` fills it in.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway.api.forms import FIELDS, MAX_KEY_CHARS, READ_FIELDS
from gateway.api.problems import ProblemDetails
from gateway.formats.registry import FORMATS
from gateway.settings import GatewaySettings
from shared.sniff import readable

MULTIPART: Final = "x-form"
RESULT: Final = "x-result-formats"
FORMATS_HERE: Final[dict[str, Any]] = {RESULT: True}

IDEMPOTENCY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!#-\\[\\]-~]+$"},
    "description": "the same key and the same payload give the same job again",
}
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "example": "wait=30",
    "description": "`wait=N`: hold the answer back for up to N seconds (1-60)",
}
JOB_FORM: Final = {MULTIPART: "job", "parameters": [IDEMPOTENCY, PREFER]}
BATCH_FORM: Final = {MULTIPART: "batch", "parameters": [IDEMPOTENCY]}
READ_FORM: Final = {MULTIPART: "read"}


def form_body(kind: str, settings: GatewaySettings) -> dict[str, Any]:
    """The ``requestBody`` of a form: ``job``, ``batch`` (many files) or ``read`` (the original API)."""
    types = ", ".join(readable(settings.allowed_extensions))
    file: dict[str, Any] = {"type": "string", "format": "binary", "description": f"one of {types}"}
    files = {"type": "array", "items": file, "minItems": 1, "maxItems": settings.max_batch_files}
    fields = READ_FIELDS if kind == "read" else FIELDS
    properties = {name: field.described(settings) for name, field in fields.items()}
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": files if kind == "batch" else file, **properties},
        "additionalProperties": False,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


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


def describe(app: FastAPI, settings: GatewaySettings) -> dict[str, Any]:
    """The OpenAPI document, made once: FastAPI's, completed, with problems in place of its own validation errors."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in made["paths"].values():
            for operation in path.values():
                _complete(operation, settings)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(operation: dict[str, Any], settings: GatewaySettings) -> None:
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    if (kind := operation.pop(MULTIPART, None)) is not None:
        operation["requestBody"] = form_body(kind, settings)
    if operation.pop(RESULT, False):
        types = [result_format.media_type for result_format in FORMATS.values() if result_format.name != "json"]
        operation["responses"]["200"].setdefault("content", {}).update(content(*types))
        choice = next(parameter for parameter in operation["parameters"] if parameter["name"] == "format")
        choice["schema"] = {"type": "string", "enum": list(FORMATS)}
