"""``PUT /process``: the "external" document loader of Open WebUI."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gateway.api.bodies import held
from gateway.api.forms import refuse_encoded
from gateway.compat.reading import FileReaderDep
from gateway.compat.refusals import Detail, DetailRoute, refused
from gateway.formats.layout import Layout, text_of
from shared.errors import FileMissing, NoText

router = APIRouter(route_class=DetailRoute, tags=["interfaces of other services"])

BARE_FILE: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class LoadedPage(BaseModel):
    """``metadata``: ``page`` from 1, ``source``: the file's name, ``job_id``."""

    page_content: str
    metadata: dict[str, Any]


@router.put(
    "/process", summary="Read a file (Open WebUI's external loader)", openapi_extra=BARE_FILE,
    responses=refused(Detail, 400, 409, 413, 415, 422),
)  # fmt: skip
async def process(request: Request, response: Response, reader: FileReaderDep) -> list[LoadedPage]:
    """The body is the file, its name percent-encoded in `X-Filename`. 422 where there is no text in it."""
    await reader.refuse_early()
    refuse_encoded(request)
    data = await request.body()
    if not data:
        raise FileMissing("The body is empty: it should be the file")
    read = await reader.read(held(data, unquote(request.headers.get("x-filename", ""))), {})
    response.headers.update(read.headers)
    source = {"source": read.job.input.filename, "job_id": read.job.id}
    texts = {page.number: text_of(page, Layout()) for page in read.pages}
    pages = [
        LoadedPage(page_content=text, metadata={"page": number, **source}) for number, text in texts.items() if text
    ]
    if not pages:
        raise NoText("No extractable text")
    return pages
