"""A submission's body as people send it: a multipart form, JSON with the file in base64, or the bare file."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any, Final
from urllib.parse import unquote

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser

from gateway.api.forms import Form, read_form, refuse_encoded, shown, text_fields
from gateway.api.multipart import NAMELESS, name_of_file, parameters
from gateway.documents import DocumentFetcher
from shared.errors import BadOption, CorruptFile, FileMissing

JSON: Final = "application/json"
BARE: Final = re.compile(r"application/(pdf|octet-stream)|image/[\w.+-]+")
DATA_URI: Final = re.compile(r"data:[^,;]*(?:;[^,;]*)*?;base64,", re.IGNORECASE)
FILE_MEMBERS: Final = frozenset({"file", "filename", "document_url"})
MAX_FILENAME_CHARS: Final = 1024


@asynccontextmanager
async def read_submission(request: Request, known: Collection[str], documents: DocumentFetcher) -> AsyncIterator[Form]:
    """The form that a request stands for, whatever its Content-Type; its files live as long as the block.

    JSON has the members ``file`` (base64 or a data URI) and ``filename``, or ``document_url``, and the options under
    their names. A bare file has its options in the URL's query and its name in ``X-Filename`` or Content-Disposition.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == JSON:
        yield await _from_json(request, known, documents)
    elif BARE.fullmatch(content_type):
        async with _from_file(request, known) as form:
            yield form
    else:
        async with read_form(request, known, files=1) as form:
            yield form


@asynccontextmanager
async def _from_file(request: Request, known: Collection[str]) -> AsyncIterator[Form]:
    refuse_encoded(request)
    fields = text_fields(request.query_params.multi_items(), known)
    on_disk = SpooledTemporaryFile[bytes](max_size=MultiPartParser.spool_max_size)
    file = UploadFile(on_disk, size=0, filename=_named(_name(request)))  # type: ignore[arg-type]  # as Starlette does
    try:
        async for chunk in request.stream():
            await file.write(chunk)
        if not file.size:
            raise FileMissing("The body is empty: it should be the file")
        await file.seek(0)
        yield Form(fields, (file,))
    finally:
        await file.close()


def _name(request: Request) -> str:
    """The file's name: ``X-Filename`` (percent-encoded where it is not ASCII), or Content-Disposition's."""
    if given := request.headers.get("x-filename"):
        return unquote(given)
    disposition = request.headers.get("content-disposition", "").encode("latin-1")
    return name_of_file(parameters(disposition)) or ""


async def _from_json(request: Request, known: Collection[str], documents: DocumentFetcher) -> Form:
    refuse_encoded(request)
    body = await json_object(request)
    options = {name: value for name, value in body.items() if name not in FILE_MEMBERS and value is not None}
    fields = text_fields([(name, _as_text(name, value)) for name, value in options.items()], known)
    return Form(fields, (await _file(body, documents),))


async def json_object(request: Request) -> dict[str, Any]:
    """The body. Raises ``BadOption`` unless it is a JSON object."""
    try:
        body: Any = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise BadOption("The body is not JSON") from None
    if not isinstance(body, dict):
        raise BadOption("The body must be a JSON object")
    return body


async def _file(body: Mapping[str, Any], documents: DocumentFetcher) -> UploadFile:
    file, url, name = (_text(body, member) for member in ("file", "document_url", "filename"))
    if file and url:
        raise BadOption("Send file or document_url, not both")
    if file:
        return held(decoded(file), name or "")
    if url:
        document = await documents.fetch(url)
        return held(document.data, name or document.filename)
    raise FileMissing("There is no member file, with the file in base64")


def _text(body: Mapping[str, Any], member: str) -> str | None:
    value = body.get(member)
    if value is not None and not isinstance(value, str):
        raise BadOption(f"{member} must be a string")
    return value


def _as_text(name: str, value: Any) -> str:
    """An option as the form would have it: ``true``, ``17``, ``a,b``, and JSON for objects."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if isinstance(value, bool | int | float | dict):
        return json.dumps(value, ensure_ascii=False)
    raise BadOption(f"{shown(name)} has a value of the wrong kind")


def decoded(text: str) -> bytes:
    """The bytes of base64 text or of a base64 data URI. Raises ``CorruptFile``."""
    uri = DATA_URI.match(text)
    try:
        return base64.b64decode("".join(text[uri.end() if uri else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        raise CorruptFile("The file is not valid base64") from None


def held(data: bytes, filename: str) -> UploadFile:
    """An upload that is in memory already."""
    return UploadFile(BytesIO(data), size=len(data), filename=_named(filename))


def _named(filename: str) -> str:
    return filename[:MAX_FILENAME_CHARS] or NAMELESS
