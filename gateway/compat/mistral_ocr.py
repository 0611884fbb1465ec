"""``POST /v1/ocr``, as Mistral has it: what LiteLLM, LangChain, Open WebUI and Mistral's own client send."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from gateway.api.bodies import DATA_URI, decoded, held, json_object
from gateway.api.openapi import json_body
from gateway.compat.mistral import FileChunk, ImageUrlChunk, OcrRequest, name_figures, shown_page
from gateway.compat.reading import FileReaderDep, ReadFile
from gateway.compat.refusals import MistralError, MistralRoute, refused
from gateway.dependencies import BaseUrlDep, Caller, CallerDep, DocumentsDep, FilesDep, StoreDep
from gateway.documents import DocumentFetcher
from gateway.files import Files
from shared.errors import BadOption

router = APIRouter(route_class=MistralRoute, tags=["interfaces of other services"])

CONTENT: Final = "/content"


class DocumentSource:
    """Finds the bytes that a request names: in itself, among the caller's files, or at a public URL."""

    def __init__(self, files: Files, documents: DocumentFetcher, caller: Caller, base_url: str) -> None:
        self._files, self._documents, self._caller = files, documents, caller
        self._own = urlsplit(base_url)

    async def find(self, asked: OcrRequest) -> UploadFile:
        """Raises ``CorruptFile``, ``NotFound``, ``BadDocumentUrl`` and ``FileTooLarge``."""
        document = asked.document
        if isinstance(document, FileChunk):
            return await self._file(document.file_id)
        if isinstance(document, ImageUrlChunk):
            return await self._at(document.url, "")
        return await self._at(document.document_url, document.document_name or "")

    async def _at(self, url: str, name: str) -> UploadFile:
        if DATA_URI.match(url):
            return held(decoded(url), name)
        if (file_id := self._own_file(url)) is not None:
            return await self._file(file_id)
        document = await self._documents.fetch(url)
        return held(document.data, name or document.filename)

    def _own_file(self, url: str) -> str | None:
        """The id in a URL that ``GET /v1/files/ID/url`` gave out."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        head, _, file_id = parts.path.removesuffix(CONTENT).rpartition("/")
        own = (parts.scheme, parts.netloc) == (self._own.scheme, self._own.netloc) and parts.path.endswith(CONTENT)
        return file_id if own and head == f"{self._own.path}/v1/files" else None

    async def _file(self, file_id: str) -> UploadFile:
        file = await self._files.find(file_id, self._caller.owner, data=True)
        return held(file.data, file.filename)


async def _asked(request: Request, reader: FileReaderDep) -> OcrRequest:
    """The body; not a parameter of the route, for which it would be read before the caller is known."""
    await reader.refuse_early()
    try:
        return OcrRequest.model_validate(await json_object(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadOption(f"{where}: {first['msg']}") from None


AskedDep = Annotated[OcrRequest, Depends(_asked)]


@router.post(
    "/v1/ocr", summary="Read a document (Mistral's interface)", openapi_extra=json_body(OcrRequest),
    responses=refused(MistralError, 400, 404, 409, 413),
)  # fmt: skip
@router.post("/ocr", include_in_schema=False)
async def read_document(
    asked: AskedDep,
    response: Response,
    caller: CallerDep,
    reader: FileReaderDep,
    store: StoreDep,
    files: FilesDep,
    documents: DocumentsDep,
    base_url: BaseUrlDep,
) -> dict[str, Any]:
    """Answers when the document has been read. A client that disconnects cancels the job."""
    file = await DocumentSource(files, documents, caller, base_url).find(asked)
    read = await reader.read(file, asked.fields())
    response.headers.update(read.headers)
    images = await store.figures(read.job.id) if asked.include_image_base64 else {}
    return shown(read, images, asked)


def shown(read: ReadFile, images: dict[str, bytes], asked: OcrRequest) -> dict[str, Any]:
    """The response."""
    figures = name_figures(read.pages, images, asked)
    return {
        "pages": [shown_page(page, figures, asked) for page in read.pages],
        "model": read.document.engine,
        "document_annotation": None,
        "usage_info": {"pages_processed": len(read.pages), "doc_size_bytes": read.job.input.bytes},
    }
