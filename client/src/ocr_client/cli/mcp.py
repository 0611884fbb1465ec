"""``ocr mcp``"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ocr_client.async_client import AsyncClient
from ocr_client.cli.exit_codes import BAD_USAGE, DONE
from ocr_client.cli.output import say
from ocr_client.client import Client

HELP = "serve the tools for agents (MCP) on stdin and stdout"


def add_arguments(parser: ArgumentParser) -> None:
    roots = [Path(part) for part in os.environ.get("OCR_MCP_ROOTS", "").split(os.pathsep) if part]
    parser.add_argument(
        "--root", type=Path, action="append", default=roots, metavar="DIR",
        help="a folder whose files may be read; may be repeated; or OCR_MCP_ROOTS",
    )  # fmt: skip


def run(_client: Client, given: Namespace) -> int:
    """Serve until stdin is closed."""
    try:
        from ocr_client.mcp.server import build_server
        from ocr_client.mcp.sources import Sources
    except ImportError:
        say("ocr: this needs the extra mcp: pip install 'ocr-client[mcp]'")
        return BAD_USAGE

    @asynccontextmanager
    async def connect(_: Any) -> AsyncIterator[AsyncClient]:
        async with AsyncClient(given.url, given.api_key, patience=given.patience) as client:
            yield client

    build_server(connect, Sources(given.root), metadata.version("ocr-client")).run("stdio")
    return DONE
