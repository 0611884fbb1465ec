"""``ocr mcp``"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocr_client.cli.exit_codes import BAD_USAGE, DONE
from ocr_client.cli.messages import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ocr_client.async_client import AsyncClient

Root = Annotated[
    list[Path] | None,
    typer.Option("--root", metavar="DIR", help="a folder whose files may be read; repeatable; or OCR_MCP_ROOTS"),
]


def mcp(ctx: typer.Context, root: Root = None) -> int:
    """Serve the tools for agents (MCP) on stdin and stdout, until stdin is closed."""
    from importlib import metadata

    try:
        from ocr_client.mcp.server import build_server
        from ocr_client.mcp.sources import Sources
    except ImportError:
        say("ocr: this needs the extra mcp: pip install 'ocr-client[mcp]'")
        return BAD_USAGE

    @asynccontextmanager
    async def connect(_: Any) -> AsyncIterator[AsyncClient]:
        async with ctx.obj.async_client() as client:
            yield client

    named = [Path(part) for part in os.environ.get("OCR_MCP_ROOTS", "").split(os.pathsep) if part]
    build_server(connect, Sources([*named, *(root or ())]), metadata.version("ocr-client")).run("stdio")
    return DONE
