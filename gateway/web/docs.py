"""Pages for people: Swagger UI, served from this process alone, and one page for each kind of problem."""

from __future__ import annotations

import html
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from gateway import csp
from gateway.api.problems import STATUS, kinds
from shared.errors import NotFound

DESCRIPTION = (
    "Images and PDFs in, Markdown out. Submit to `/api/v1/jobs`, then poll, follow the events or receive a webhook; "
    "or send one file to `/api/v1/ocr` and read the text as it is made. Every refusal is an RFC 9457 problem with a "
    "stable `code`."
)

router = APIRouter(include_in_schema=False)


def assets() -> StaticFiles:
    """Swagger UI's files, out of the installed package."""
    return StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")


@router.get("/docs")
async def api_page(request: Request) -> HTMLResponse:
    """Swagger UI."""
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="OCR API",
        swagger_js_url=f"{root}/static/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/static/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/favicon.png",
    )
    page.headers[csp.HEADER] = csp.API_PAGE
    return page


@router.get("/problems/{code}")
async def problem_page(code: str) -> HTMLResponse:
    """The page that the ``type`` of a problem links to."""
    kind = kinds().get(code)
    if kind is None:
        raise NotFound("No such problem type")
    title = html.escape(kind("").title)
    text = (
        f"<!doctype html><html lang=en><title>{code}</title><h1>{title}</h1><p><code>{code}</code>, HTTP {STATUS[code]}"
    )
    return HTMLResponse(text, headers={csp.HEADER: csp.PROBLEM_PAGE})
