"""The MCP server: tools and resources over the HTTP API. ``ocr mcp`` serves it on stdio, the gateway at ``/mcp``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from ocr_client.async_client import AsyncClient
from ocr_client.document import Document
from ocr_client.errors import ClientError
from ocr_client.mcp.results import (
    DocumentText,
    ExtractedTable,
    Finding,
    ListedDocument,
    chosen,
    findings,
    handed_out,
    listed,
    tables,
)
from ocr_client.mcp.sources import Sources
from ocr_client.models import Job

MAX_CHARACTERS = 40_000
MAX_LISTED = 50
INSTRUCTIONS = (
    "Reads scans, photographs and PDFs. Begin with read_document; where its answer is truncated, go on with read_pages"
    " from next_page. Pages count from 1, boxes are pixels of the page image."
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
SUBMITS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
Connect = Callable[["Context[Any, Any]"], AbstractAsyncContextManager[AsyncClient]]
Characters = Annotated[int, Field(ge=1000, le=1_000_000, description="at most so many, in whole pages")]
JobId = Annotated[str, Field(description="job_id of an earlier answer")]


class Tools:
    """``connect`` gives a client of the service for one request."""

    def __init__(self, connect: Connect, sources: Sources) -> None:
        self._connect, self._sources = connect, sources

    async def read_document(
        self,
        source: Annotated[str, Field(description="a file's path, a data URI, an https URL, or the id of a job")],
        ctx: Context[Any, Any],
        pages: Annotated[str | None, Field(description="such as 1-3,7 or 3-; default: all")] = None,
        mode: Literal["tiny", "small", "base", "large", "gundam"] | None = None,
        max_characters: Characters = MAX_CHARACTERS,
    ) -> DocumentText:
        """Read a document and give its Markdown. Where it does not fit, `next_page` says where to go on."""

        async def report(job: Job) -> None:
            done = job.progress.pages_done + job.progress.pages_failed
            await ctx.report_progress(done, job.progress.pages_total, f"{job.filename}: {job.status}")

        async with self._connect(ctx) as client:
            try:
                job = await self._sources.job(client, source, pages=pages, mode=mode)
                document = await client.document(await client.wait(job, watcher=report))
            except (ClientError, OSError) as error:
                raise ToolError(str(error)) from None
        return handed_out(document, document.pages, max_characters)

    async def read_pages(
        self, job_id: JobId, pages: str, ctx: Context[Any, Any], max_characters: Characters = MAX_CHARACTERS
    ) -> DocumentText:
        """Pages of a document that was read: `1-3,7`, or `5-` for those from 5 on."""
        document = await self._document(ctx, job_id)
        try:
            wanted = chosen(document, pages)
        except ValueError:
            raise ToolError(f"{pages[:40]!r} is no page range; write for instance 1-3,7 or 5-") from None
        if not wanted:
            raise ToolError(f"The document has none of the pages {pages[:40]}")
        return handed_out(document, wanted, max_characters)

    async def find_in_document(self, job_id: JobId, query: str, ctx: Context[Any, Any]) -> list[Finding]:
        """Blocks of a document that contain the query, with page and box."""
        return findings(await self._document(ctx, job_id), query)

    async def page_image(self, job_id: JobId, page: int, ctx: Context[Any, Any], boxes: bool = False) -> Image:
        """The image of a page as it was read, with the boxes of its blocks if asked."""
        async with self._connect(ctx) as client:
            try:
                return Image(data=await client.page_image(job_id, page, boxes=boxes), format="webp")
            except ClientError as error:
                raise ToolError(str(error)) from None

    async def extract_tables(self, job_id: JobId, ctx: Context[Any, Any]) -> list[ExtractedTable]:
        """Every table of a document as CSV."""
        async with self._connect(ctx) as client:
            try:
                return tables(await client.result(await client.job(job_id), "zip"))
            except ClientError as error:
                raise ToolError(str(error)) from None

    async def list_documents(self, ctx: Context[Any, Any]) -> list[ListedDocument]:
        """The newest documents that were read or are being read."""
        found: list[ListedDocument] = []
        async with self._connect(ctx) as client:
            try:
                async for job in client.jobs():
                    found.append(listed(job))
                    if len(found) == MAX_LISTED:
                        break
            except ClientError as error:
                raise ToolError(str(error)) from None
        return found

    async def markdown(self, job_id: str, ctx: Context[Any, Any]) -> str:
        """The Markdown of a document that was read."""
        async with self._connect(ctx) as client:
            try:
                return (await client.result(job_id)).decode()
            except ClientError as error:
                raise ResourceError(str(error)) from None

    async def image(self, job_id: str, page: int, ctx: Context[Any, Any]) -> bytes:
        """The image of a page as it was read (WebP)."""
        async with self._connect(ctx) as client:
            try:
                return await client.page_image(job_id, page)
            except ClientError as error:
                raise ResourceError(str(error)) from None

    async def _document(self, ctx: Context[Any, Any], job_id: str) -> Document:
        async with self._connect(ctx) as client:
            try:
                return await client.document(job_id)
            except ClientError as error:
                raise ToolError(str(error)) from None


def build_server(connect: Connect, sources: Sources, version: str) -> MCPServer:
    """The server with its tools; it opens nothing before it is run."""
    server: MCPServer = MCPServer("ocr", instructions=INSTRUCTIONS, version=version, log_level="WARNING")
    tools = Tools(connect, sources)
    server.add_tool(tools.read_document, annotations=SUBMITS)
    for read in (
        tools.read_pages, tools.find_in_document, tools.page_image, tools.extract_tables, tools.list_documents,
    ):  # fmt: skip
        server.add_tool(read, annotations=READS)
    server.resource("ocr://jobs/{job_id}.md", name="document", mime_type="text/markdown")(tools.markdown)
    server.resource("ocr://jobs/{job_id}/pages/{page}.webp", name="page", mime_type="image/webp")(tools.image)
    return server
