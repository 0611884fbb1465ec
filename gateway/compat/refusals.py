"""Errors in the shape that each interface's own clients read, instead of a problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.api.problems import STATUS
from shared.errors import BadOption, OCRError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class MistralError(BaseModel):
    """``code`` and ``message`` are those of our own problems."""

    object: Literal["error"] = "error"
    message: str
    type: str
    param: str | None = None
    code: str


class Detail(BaseModel):
    detail: str
    code: str


def refused(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for OpenAPI: these statuses, each with its codes."""
    return {
        status: {"model": model, "description": ", ".join(code for code, its in STATUS.items() if its == status)}
        for status in (401, 403, *statuses, 429, 500, 503)
    }


class ShapedRoute(APIRoute):
    """A route whose errors have the body that ``shape`` gives them; status, code and text are the problem's."""

    def shape(self, error: OCRError, status: int) -> dict[str, Any]:
        raise NotImplementedError

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_shaped(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][1:])
                return self._refuse(BadOption(f"{where}: {first['msg']}"))
            except OCRError as error:
                return self._refuse(error)

        return handle_shaped

    def _refuse(self, error: OCRError) -> Response:
        status = STATUS[error.code]
        headers = {"Cache-Control": "no-store"}
        if error.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.shape(error, status), status, headers)


class MistralRoute(ShapedRoute):
    """``{"object": "error", "message", "type", "param", "code"}``"""

    def shape(self, error: OCRError, status: int) -> dict[str, Any]:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return MistralError(message=error.detail, type=kind, code=error.code).model_dump()


class DetailRoute(ShapedRoute):
    """``{"detail", "code"}``, as a FastAPI application answers that does nothing about it."""

    def shape(self, error: OCRError, status: int) -> dict[str, Any]:
        return Detail(detail=error.detail, code=error.code).model_dump()
