"""``POST /v1/convert/file``, as docling-serve has it: one file in, Markdown, text and HTML out."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile

from gateway.api.multipart import NAMELESS, read_parts
from gateway.compat.reading import FileReaderDep, ReadFile
from gateway.compat.refusals import Detail, DetailRoute, refused
from gateway.formats.html import html
from gateway.formats.markdown import markdown
from gateway.formats.text import text
from shared.contract.states import JobStatus
from shared.errors import BadOption, BadPageRange, FileMissing

router = APIRouter(route_class=DetailRoute, tags=["interfaces of other services"])

FORMATS: Final = frozenset({"md", "text", "html"})
MAX_FILES: Final = 8
LAST_PAGE: Final = 9_999_999  # docling's own default is the largest integer of 64 bits
UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "string", "format": "binary"},
                        "to_formats": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": f"at least one of {', '.join(sorted(FORMATS))}; others are left out",
                        },
                        "page_range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                    },
                }
            }
        },
    }
}


class ConvertedDocument(BaseModel):
    """What was not asked for is null."""

    filename: str
    md_content: str | None = None
    text_content: str | None = None
    html_content: str | None = None
    json_content: dict[str, Any] | None = None
    doctags_content: str | None = None


class Converted(BaseModel):
    """``status``: ``success``, or ``partial_success`` where ``errors`` names pages. Seconds."""

    document: ConvertedDocument
    status: str
    errors: list[dict[str, Any]]
    processing_time: float
    timings: dict[str, Any] = {}


@router.post(
    "/v1/convert/file", summary="Convert a file (docling-serve's interface)", openapi_extra=UPLOAD,
    responses=refused(Detail, 400, 409, 413),
)  # fmt: skip
async def convert_file(request: Request, response: Response, reader: FileReaderDep) -> Converted:
    """`to_formats` of `md`, `text`, `html`; `page_range`. Other options of docling are accepted and change nothing."""
    await reader.refuse_early()
    form = await read_parts(request, MAX_FILES)
    try:
        formats = wanted_formats(form)
        read = await reader.read(_file(form), pages_of(form))
    finally:
        await form.close()
    response.headers.update(read.headers)
    return converted(read, formats)


def _file(form: FormData) -> UploadFile:
    files = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
    if not files:
        raise FileMissing("There is no part named files")
    if len(files) > 1:
        raise BadOption("Send one file; many go to /api/v1/batches")
    files[0].filename = files[0].filename or NAMELESS
    return files[0]


def wanted_formats(form: FormData) -> frozenset[str]:
    """Those of ``to_formats`` that can be given; Markdown where none was named. Raises ``BadOption`` where none can."""
    named = {str(value) for value in form.getlist("to_formats")} or {"md"}
    if not named & FORMATS:
        raise BadOption(f"to_formats may be {', '.join(sorted(FORMATS))}")
    return frozenset(named & FORMATS)


def pages_of(form: FormData) -> dict[str, str]:
    """``page_range=2&page_range=5`` as the field ``pages``. Raises ``BadPageRange``."""
    given = form.getlist("page_range")
    if not given:
        return {}
    try:
        first, last = (int(str(value)) for value in given)
    except ValueError:
        raise BadPageRange("page_range must be two numbers, the first and the last page") from None
    return {"pages": f"{first}-{min(last, LAST_PAGE)}"}


def converted(read: ReadFile, formats: frozenset[str]) -> Converted:
    """The response."""
    document, job = read.document, read.job
    faults = [f"page {page.number}: {page.status} ({page.reason})" for page in job.pages if page.reason]
    partial = job.status == JobStatus.PARTIAL
    return Converted(
        document=ConvertedDocument(
            filename=job.input.filename,
            md_content=markdown(document) if "md" in formats else None,
            text_content=text(document) if "text" in formats else None,
            html_content=html(document) if "html" in formats else None,
        ),
        status="partial_success" if partial else "success",
        errors=[{"component_type": "model", "module_name": "ocr", "error_message": fault} for fault in faults]
        if partial
        else [],
        processing_time=round((job.completed_at or 0.0) - (job.started_at or job.created_at), 3),
    )
