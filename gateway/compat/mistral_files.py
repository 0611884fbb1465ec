"""``/v1/files``, as Mistral has it: upload a file, read it by its id or URL, delete it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from gateway.api.filenames import clean_filename, content_disposition
from gateway.api.multipart import FILE, read_parts
from gateway.api.openapi import OCTETS, Responses
from gateway.api.responses import NoStoreResponse
from gateway.compat.refusals import MistralError, MistralRoute, refused
from gateway.dependencies import BaseUrlDep, CallerDep, FilesDep, SettingsDep, StoreDep
from gateway.files import StoredFile
from shared.errors import FileEmpty, FileMissing, FileTooLarge

router = APIRouter(route_class=MistralRoute, tags=["interfaces of other services"])

UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"description": "of any kind, for nothing depends on it; `ocr` is what is kept"},
                    },
                }
            }
        },
    }
}


MISSING: Final = refused(MistralError, 404)
BYTES: Final[Responses] = {200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}}


class UploadedFile(BaseModel):
    """Sizes in bytes; ``created_at`` in seconds since the epoch."""

    id: str
    object: str = "file"
    bytes: int
    size_bytes: int
    created_at: int
    filename: str
    purpose: str = "ocr"
    sample_type: str = "ocr_input"
    source: str = "upload"
    mimetype: str | None = None
    deleted: bool = False


class FileUrl(BaseModel):
    url: str


class DeletedFile(BaseModel):
    id: str
    object: str = "file"
    deleted: bool = True


@router.post(
    "/v1/files", summary="Upload a file (Mistral's interface)", openapi_extra=UPLOAD,
    responses=refused(MistralError, 400, 413),
)  # fmt: skip
@router.post("/files", include_in_schema=False)
async def upload_file(
    request: Request, caller: CallerDep, files: FilesDep, settings: SettingsDep, store: StoreDep
) -> UploadedFile:
    """The file is kept for `FILE_TTL` seconds and checked when it is read."""
    await store.admission.refuse_without_room()
    form = await read_parts(request, 1)
    try:
        file = form.get(FILE)
        if not isinstance(file, UploadFile):
            raise FileMissing("There is no part named file")
        limit = max(settings.max_file_size, settings.max_pdf_size)
        if (file.size or 0) > limit:
            raise FileTooLarge(f"{file.size} bytes; at most {limit} are accepted")
        if not (data := await file.read()):
            raise FileEmpty()
        stored = await files.add(caller.owner, clean_filename(file.filename or ""), data)
    finally:
        await form.close()
    return _shown(stored)


@router.get("/v1/files/{file_id}", summary="Look at a file (Mistral's interface)", responses=MISSING)
@router.get("/files/{file_id}", include_in_schema=False)
async def look_at_file(file_id: str, caller: CallerDep, files: FilesDep) -> UploadedFile:
    return _shown(await files.find(file_id, caller.owner))


@router.get(
    "/v1/files/{file_id}/url", summary="A URL for /v1/ocr (Mistral's interface)",
    responses=refused(MistralError, 400, 404),
)  # fmt: skip
@router.get("/files/{file_id}/url", include_in_schema=False)
async def file_url(
    file_id: str,
    caller: CallerDep,
    files: FilesDep,
    base_url: BaseUrlDep,
    expiry: Annotated[int, Query(ge=0, description="hours; the file's own time ends it in any case")] = 24,
) -> FileUrl:
    """It names the file and opens nothing: whoever uses it needs the key that uploaded the file."""
    file = await files.find(file_id, caller.owner)
    return FileUrl(url=f"{base_url}/v1/files/{file.id}/content")


@router.get(
    "/v1/files/{file_id}/content",
    summary="A file's bytes (Mistral's interface)",
    response_class=Response,
    responses=BYTES | MISSING,
)
@router.get("/files/{file_id}/content", include_in_schema=False, response_class=Response)
async def file_content(file_id: str, caller: CallerDep, files: FilesDep) -> Response:
    file = await files.find(file_id, caller.owner, data=True)
    headers = {"Content-Disposition": content_disposition(file.filename)}
    return NoStoreResponse(file.data, headers=headers, media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", summary="Delete a file (Mistral's interface)", responses=MISSING)
@router.delete("/files/{file_id}", include_in_schema=False)
async def delete_file(file_id: str, caller: CallerDep, files: FilesDep) -> DeletedFile:
    """Jobs that read it go on."""
    await files.delete(file_id, caller.owner)
    return DeletedFile(id=file_id)


def _shown(file: StoredFile) -> UploadedFile:
    return UploadedFile(
        id=file.id, bytes=file.size, size_bytes=file.size, created_at=file.created_at, filename=file.filename
    )
