"""The web page: one HTML file and its modules, served from this process alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from gateway import csp

SERVICE_NAME: Final = "OCR service"
FILES: Final = Path(__file__).with_name("static")
HEADERS: Final = {
    csp.HEADER: csp.WEB_PAGE,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",  # a share link is its own key
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False)


class PageFiles(StaticFiles):
    """The page's modules and style sheet; browsers ask each time whether they changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


@router.get("/")
async def page(request: Request) -> Response:
    """The page for a browser; a few words about the service for everything else."""
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(FILES / "index.html", headers={**HEADERS, "Vary": "Accept"})
    about = {"name": SERVICE_NAME, "version": request.app.version, "docs": "/docs", "health": "/health"}
    return JSONResponse(about, headers={"Vary": "Accept"})


@router.get("/s/{token}")
async def shared_page(token: str) -> Response:
    """The same page, read-only, for whoever has the link; the page itself asks what the token opens."""
    return FileResponse(FILES / "index.html", headers=HEADERS)
