"""The parts of the OpenAPI document that FastAPI cannot derive: forms, result formats, headers and problems.

The forms are read by hand, so that a refusal comes before the upload; their schemas follow from ``forms.FIELDS`` and
the settings. A route marks what is to be filled in (``MULTIPART``, ``FORMATS_HERE``); ``describe`` fills it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.api import openapi_events
from gateway.api.forms import FIELDS, MAX_KEY_CHARS, READ_FIELDS
from gateway.api.openapi_examples import EXAMPLES
from gateway.api.problems import STATUS, ProblemDetails
from gateway.formats.registry import FORMATS
from gateway.settings import GatewaySettings
from shared.sniff import readable

MULTIPART: Final = "x-form"
RESULT: Final = "x-result-formats"
JSON_BODY: Final = "x-json-body"
OCTETS: Final = "application/octet-stream"
TEXT: Final = {"type": "string"}
FORMATS_HERE: Final[dict[str, Any]] = {RESULT: True}
PUBLIC_NAMES: Final = {"DocumentResult": "Document", "PageResult": "Page", "PageBlock": "Block"}
"""Name of a model -> what its schema is called: generated clients and ``ocr_client`` have these as names of classes."""

# Blanks round a header's value are not part of it, wherever they are taken off on its way.
IDEMPOTENCY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": f"^[ \\t]*[!#-~][!-~]{{0,{MAX_KEY_CHARS - 1}}}[ \\t]*$"},
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
    content = {"multipart/form-data": {"schema": schema}}
    return {"required": True, "content": content | (_other_bodies(properties, types) if kind == "job" else {})}


def _other_bodies(fields: Mapping[str, dict[str, Any]], types: str) -> dict[str, Any]:
    """A job's file in JSON, with the options beside it, and bare, with the options in the query."""
    base64_file = {**TEXT, "description": f"base64 or a base64 data URI of one of {types}"}
    url = {**TEXT, "description": "instead of `file`, where the service fetches documents (`DOCUMENT_URLS`)"}
    members = {"file": base64_file, "filename": TEXT, "document_url": url}
    schema = {
        "type": "object",
        "properties": members | {name: json_option(name, field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    bare = {"schema": {"type": "string", "format": "binary"}}
    return {"application/json": {"schema": schema}, "application/pdf": bare, "image/*": bare, OCTETS: bare}


def json_option(name: str, openapi_field: Mapping[str, Any]) -> dict[str, Any]:
    """A form's field as a member of a JSON body: flags are booleans, ``metadata`` is an object."""
    description = {"description": openapi_field.get("description", "")}
    if openapi_field.get("enum") == ["true", "false", "1", "0"]:
        return {"type": "boolean", "default": openapi_field["default"] == "true", **description}
    return {"type": "object", **description} if name == "metadata" else dict(openapi_field)


Responses = dict[int | str, dict[str, Any]]


def header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


RETRY_AFTER: Final = {"description": "seconds after which to ask again", "schema": {"type": "integer"}}
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


EVENT: Final = {
    "type": "object",
    "properties": {"data": TEXT, "event": TEXT, "id": TEXT, "retry": {"type": "integer"}},
}


BINARY: Final = {"type": "string", "format": "binary"}
BINARY_TYPES: Final = frozenset({"application/zip", "image/webp", "image/jpeg", OCTETS})


def content(*types: str) -> dict[str, Any]:
    """The ``content`` of a response in these media types."""

    def schema(kind: str) -> dict[str, Any]:
        return EVENT if kind == "text/event-stream" else BINARY if kind in BINARY_TYPES else TEXT

    return {kind: {"schema": schema(kind)} for kind in types}


OPERATIONS: Final[Mapping[str, str]] = {
    "follow": "streamEvents",
    "follow_all": "streamAllEvents",
    "get_secret": "getWebhookSecret",
    "list_deliveries": "listDeliveries",
    "make_token": "createToken",
    "models": "getModels",
    "health": "getHealth",
    "metrics": "getMetrics",
    "livez": "getLiveness",
    "readyz": "getReadiness",
    "page": "getAbout",
    "read": "ocr",
    "read_document": "mistralOcr",
    "look_at_file": "getFile",
    "file_url": "getFileUrl",
    "file_content": "getFileContent",
    "process": "processFile",
    "rotate_secret": "rotateWebhookSecret",
    "search_results": "search",
    "service_state": "getService",
    "shared_job": "getSharedJob",
}
"""The names of operations that do not follow from their functions'."""
OPEN: Final = ("/health", "/models", "/livez", "/readyz", "/metrics")
TAGS: Final[Mapping[str, str]] = {
    "jobs": "Submit files, look at jobs, follow and cancel them.",
    "results": "The document, its pages, images and figures.",
    "batches": "Many files in one request.",
    "wait or stream in one call": "The original API: one file in, its text out.",
    "webhooks": "Deliveries and secrets, and what the service sends to the `webhook_url` of a job.",
    "interfaces of other services": "Mistral's, docling-serve's and Open WebUI's interfaces.",
}


def operation_id(route: APIRoute) -> str:
    """``submit_job`` -> ``submitJob``: stable, and what generated clients call their functions by."""
    first, *rest = route.name.split("_")
    return OPERATIONS.get(route.name) or first + "".join(word.capitalize() for word in rest)


def describe(app: FastAPI, settings: GatewaySettings) -> dict[str, Any]:
    """The OpenAPI document, made once: FastAPI's, completed, with problems in place of its own validation errors."""
    if app.openapi_schema is None:
        made = _with_public_names(
            get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        )
        openapi_schemas = made.setdefault("components", {}).setdefault("schemas", {})
        made["servers"] = [{"url": "/"}]
        made["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
        made["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
        openapi_schemas["ErrorCode"] = {"type": "string", "enum": list(STATUS), "description": "What programs go by."}
        openapi_schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
        openapi_schemas["ProblemDetails"]["properties"]["code"] = {"$ref": "#/components/schemas/ErrorCode"}
        for name, made_schema in (openapi_events.event_schemas() | openapi_events.webhook_schemas()).items():
            openapi_schemas.setdefault(name, made_schema)
        made["webhooks"] = openapi_events.webhooks()
        for name, example in EXAMPLES.items():
            openapi_schemas[name]["examples"] = [example]
        for name in ("HTTPValidationError", "ValidationError"):
            openapi_schemas.pop(name, None)
        for path in made["paths"].values():
            for operation in path.values():
                _complete(operation, settings)
                if (schema := operation.pop(JSON_BODY, None)) is not None:
                    operation["requestBody"] = _json_body(schema, openapi_schemas)
        app.openapi_schema = made
    return app.openapi_schema


def _with_public_names(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the schemas of ``PUBLIC_NAMES`` renamed, and every reference to one."""
    made: dict[str, Any] = _referring(document)
    openapi_schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name, public in PUBLIC_NAMES.items():
        openapi_schemas[public] = {**openapi_schemas.pop(name), "title": public}
    made.update(components={"schemas": dict(sorted(openapi_schemas.items()))})
    return made


def _referring(part: Any) -> Any:
    """A part of the document, its references with public names."""
    if isinstance(part, dict):
        return {key: _reference(value) if key == "$ref" else _referring(value) for key, value in part.items()}
    return [_referring(entry) for entry in part] if isinstance(part, list) else part


def _reference(reference: str) -> str:
    folder, _, name = reference.rpartition("/")
    return f"{folder}/{PUBLIC_NAMES.get(name, name)}"


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What a route marks that reads its JSON body by hand, so that the caller is known before the body is read."""
    return {JSON_BODY: model.model_json_schema(ref_template="#/components/schemas/{model}")}


def _json_body(openapi_schema: dict[str, Any], openapi_schemas: dict[str, Any]) -> dict[str, Any]:
    """The ``requestBody``; the model and those it is made of are added to the named schemas."""
    openapi_schemas.update(openapi_schema.pop("$defs", {}))
    openapi_schemas[openapi_schema["title"]] = openapi_schema
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{openapi_schema['title']}"}}}
    return {"required": True, "content": content}


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
