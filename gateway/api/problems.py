"""Every refusal is one RFC 9457 problem. This is the only place where a code gets its HTTP status.

``type`` is ``/problems/<code>``: stable, relative to the gateway, and served there as a short page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from shared import errors, log
from shared.errors import OCRError

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[str, int]] = {
    "file-missing": 400,
    "file-empty": 400,
    "file-too-large": 400,
    "unsupported-media": 400,
    "corrupt-file": 400,
    "image-too-large": 400,
    "too-many-pages": 400,
    "encrypted-pdf": 400,
    "bad-page-range": 400,
    "prompt-too-long": 400,
    "bad-prompt": 400,
    "bad-option": 400,
    "bad-webhook-url": 400,
    "bad-document-url": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "cross-site": 403,
    "misdirected-request": 421,
    "not-found": 404,
    "method-not-allowed": 405,
    "body-timeout": 408,
    "head-timeout": 408,
    "not-finished": 409,
    "already-finished": 409,
    "job-failed": 409,
    "result-expired": 410,
    "payload-missing": 410,
    "body-too-large": 413,
    "url-too-long": 414,
    "unsupported-encoding": 415,
    "range-not-satisfiable": 416,
    "idempotency-mismatch": 422,
    "no-text": 422,
    "queue-full": 429,
    "rate-limited": 429,
    "head-too-large": 431,
    "internal": 500,
    # Codes of engines: they appear in jobs and pages, and never as the code of a response.
    "inference-failed": 500,
    "render-failed": 500,
    "render-timeout": 500,
    "render-memory": 500,
    "engine-dead": 500,
    "engine-not-ready": 503,
    "store-full": 503,
    "store-unavailable": 503,
}


class MethodNotAllowed(OCRError):
    """This path does not accept that method"""

    code = "method-not-allowed"


class ProblemDetails(BaseModel):
    """A problem by RFC 9457. Programs go by ``code``, people read ``detail``."""

    type: str = Field(description="stable URI of the kind of problem", examples=["/problems/file-too-large"])
    title: str = Field(examples=["The file is too large"])
    status: int = Field(examples=[400])
    detail: str = Field(examples=["The image has 12582912 bytes; the limit is 10485760"])
    code: str = Field(examples=["file-too-large"])
    request_id: str = Field(description="also in the header X-Request-ID", examples=["01JD0000000000000000000000"])


def kinds() -> dict[str, type[OCRError]]:
    """Every code with the error class that gives it its title."""
    found: dict[str, type[OCRError]] = {}
    stack: list[type[OCRError]] = [OCRError]
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        if kind.code not in found or not kind.__subclasses__():
            found[kind.code] = kind
    return found


def request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def describe(error: OCRError, request_id: str, status: int | None = None) -> ProblemDetails:
    """The problem of this error; ``status`` where it is another than the code's own."""
    return ProblemDetails(
        type=f"/problems/{error.code}",
        title=error.title,
        status=status or STATUS[error.code],
        detail=error.detail,
        code=error.code,
        request_id=request_id,
    )


def problem(error: OCRError, request_id: str, status: int | None = None, allow: str | None = None) -> Response:
    """The response to a request that ended in ``error``."""
    log.bind(code=error.code)
    headers = {"Cache-Control": "no-store"}
    if allow is not None:
        headers["Allow"] = allow
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    body = describe(error, request_id, status)
    return JSONResponse(body.model_dump(), body.status, headers, MEDIA_TYPE)


async def _ocr_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OCRError)  # noqa: S101  # Starlette types every handler alike
    return problem(error, request_id(request))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    mine: OCRError
    if error.status_code == 404:
        mine = errors.NotFound("No such URL")
    elif error.status_code == 405:
        mine = MethodNotAllowed()
    elif error.status_code < 500:
        mine = errors.BadOption(error.detail)
    else:
        mine = OCRError()
    return problem(mine, request_id(request), None, _allowed(request) if error.status_code == 405 else None)


def _allowed(request: Request) -> str:
    """The methods of this path: each route knows only its own."""
    found = set[str]()
    for template, methods in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.url.path):
            found.update(method.upper() for method in methods)
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return problem(errors.BadOption(f"{where}: {first['msg']}"), request_id(request))


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(OCRError, _ocr_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


USUAL: Final[Mapping[int, str]] = {
    400: "bad-option", 401: "unauthorized", 403: "forbidden", 404: "not-found", 410: "result-expired",
    413: "body-too-large", 416: "range-not-satisfiable", 422: "idempotency-mismatch", 429: "rate-limited",
    500: "internal", 503: "store-unavailable",
}  # fmt: skip
"""The code that a status has on every route which may answer with it."""
UPLOAD: Final = (
    "bad-option", "file-missing", "file-empty", "file-too-large", "unsupported-media", "corrupt-file",
    "image-too-large", "too-many-pages", "encrypted-pdf", "bad-page-range", "prompt-too-long", "bad-prompt",
    "bad-webhook-url", "body-timeout", "body-too-large", "unsupported-encoding", "queue-full", "rate-limited",
    "store-full",
)  # fmt: skip
"""The codes of every route that takes a file into the queue."""


def answers(*given: int | str) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for OpenAPI, each a problem: statuses with their usual code, and codes."""
    named = [one for one in given if isinstance(one, str)]
    usual = [USUAL[one] for one in (*(one for one in given if isinstance(one, int)), 500, 503)]
    codes = dict.fromkeys([*named, *usual])
    return {status: _answer(status, [code for code in codes if STATUS[code] == status]) for status in _statuses(codes)}


def unavailable(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that has 503 for every refusal, whatever its code's status is elsewhere."""
    return answers() | {503: _answer(503, [*codes, USUAL[503]])}


def _statuses(codes: Iterable[str]) -> list[int]:
    return sorted({STATUS[code] for code in codes})


def _answer(status: int, codes: list[str]) -> dict[str, Any]:
    title = kinds()[codes[0]]("").title
    example = ProblemDetails(
        type=f"/problems/{codes[0]}",
        title=title,
        status=status,
        detail=title,
        code=codes[0],
        request_id="01JD0000000000000000000000",
    )
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    content = {MEDIA_TYPE: {"schema": schema, "example": example.model_dump()}}
    return {"description": ", ".join(codes), "content": content}
