"""multipart/form-data as clients really write it, over Starlette's parser, which holds no more of a file than 1 MiB.

Beyond it: file names by RFC 5987 (``filename*``) and in encoded words (RFC 2047), text before the first boundary, file
parts without a name, and an error that names the field where one is too long or the body ends in the middle.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from email.errors import MessageError
from email.header import decode_header, make_header
from tempfile import SpooledTemporaryFile
from typing import Final
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from shared.errors import BadOption, FileMissing, PromptTooLong

MAX_FIELDS: Final = 64
MAX_FIELD_BYTES: Final = 64 * 1024
MAX_PREAMBLE_BYTES: Final = 64 * 1024  # before the first boundary
FILE: Final = "file"
NAMELESS: Final = "upload"
_PARAMETER: Final = re.compile(rb';\s*([!#$%&\'*+.^_`|~\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_ENCODED_WORD: Final = re.compile(r"=\?[\w-]+\?[bq]\?[^?]*\?=", re.IGNORECASE)
_TRANSFER: Final = frozenset({b"", b"binary", b"8bit", b"7bit"})

Parts = list[tuple[str, UploadFile | str]]


async def read_parts(request: Request, files: int) -> FormData:
    """The parts of the request's body. Close the answer: its files lie on disk beyond 1 MiB.

    Raises ``FileMissing`` for a body that is no multipart form, ``BadOption`` and ``PromptTooLong`` for its fields.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise FileMissing("The body is not multipart/form-data")
    parser = FormParser(
        request.headers, request.stream(), max_files=files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        kind = BadOption if error.message.startswith("Too many") else FileMissing
        raise kind(f"The multipart body cannot be read: {error.message}") from error
    except BaseException:
        parser.close_files()  # Starlette does so for its own errors alone
        raise
    if not parser.ended:
        parser.close_files()  # also the one that was cut off, which is no part of the form yet
        raise FileMissing("The multipart body ends in the middle: its last boundary is missing")
    return form


class FormParser(MultiPartParser):
    """``ended``: the last boundary was seen."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: int) -> None:
        boundary = parameters(headers.get("content-type", "").encode("latin-1")).get("boundary", "")
        super().__init__(headers, after_preamble(stream, b"--" + boundary.encode("latin-1")), **limits)
        self.ended = False

    def on_headers_finished(self) -> None:
        part = self._current_part
        given = parameters(part.content_disposition or b"")
        filename = name_of_file(given)
        part.field_name = given.get("name") or (FILE if filename is not None else "")
        self._refuse_encoded(part.field_name, dict(part.item_headers))
        if filename is None and part.field_name != FILE:
            self._begin_field(part.field_name)
        else:
            self._begin_file(filename or "")

    def _refuse_encoded(self, name: str, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"content-transfer-encoding", b"").strip().lower() not in _TRANSFER:
            raise BadOption(f"The part {name[:40]!a} has a Content-Transfer-Encoding: send its bytes as they are")

    def _begin_field(self, name: str) -> None:
        if not name:
            raise BadOption("A part of the body has no name: its Content-Disposition must say which field it is")
        self._current_fields += 1
        if self._current_fields > self.max_fields:
            raise BadOption(f"The form is limited to {self.max_fields} fields")

    def _begin_file(self, filename: str) -> None:
        self._current_files += 1
        if self._current_files > self.max_files:
            raise MultiPartException(f"Too many files. Maximum number of files is {self.max_files}.")
        on_disk = SpooledTemporaryFile[bytes](max_size=self.spool_max_size)  # closed with the form
        self._files_to_close_on_error.append(on_disk)
        headers = Headers(raw=self._current_part.item_headers)
        self._current_part.file = UploadFile(on_disk, size=0, filename=filename, headers=headers)  # type: ignore[arg-type]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > self.max_part_size:
            kind = PromptTooLong if part.field_name == "prompt" else BadOption
            raise kind(f"The field {part.field_name[:40]!a} is limited to {self.max_part_size} bytes")
        super().on_part_data(data, start, end)

    def close_files(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()

    def on_end(self) -> None:
        self.ended = True


async def after_preamble(stream: AsyncGenerator[bytes, None], delimiter: bytes) -> AsyncGenerator[bytes, None]:
    """The body from its first boundary on; what may stand before it (RFC 2046) is for people, and passed over."""
    head = b""
    async for chunk in stream:
        head += chunk
        if (begin := _first(head, delimiter)) >= 0:
            yield head[begin:]
            break
        if len(head) > MAX_PREAMBLE_BYTES:
            raise FileMissing("The multipart body does not begin with the boundary of its Content-Type")
    else:
        yield head
    async for chunk in stream:
        yield chunk


def _first(head: bytes, delimiter: bytes) -> int:
    """Where the first boundary begins: at the start of the body or of a line."""
    if head.startswith(delimiter):
        return 0
    at = head.find(b"\n" + delimiter)
    return at + 1 if at >= 0 else -1


def parameters(header: bytes) -> dict[str, str]:
    """The parameters of a header such as ``form-data; name="file"``, by lower-case name; the first of each counts."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        inner = value[1:-1].replace(rb"\"", b'"') if value[:1] == b'"' else value.strip()
        found.setdefault(name.decode("latin-1").lower(), _text(inner))
    return found


def name_of_file(given: dict[str, str]) -> str | None:
    """The file's name: ``filename*`` before ``filename``; None where there is neither."""
    if (extended := given.get("filename*")) is not None:
        return _extended(extended)
    plain = given.get("filename")
    if plain is None:
        return None
    if _ENCODED_WORD.search(plain):
        return _decoded_words(plain)
    return plain.replace("%22", '"')  # what browsers write for a quote


def _extended(value: str) -> str:
    """``UTF-8''%e2%82%ac.png`` (RFC 5987)."""
    charset, _, rest = value.partition("'")
    encoded = rest.partition("'")[2] if "'" in rest else value
    try:
        return unquote_to_bytes(encoded).decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return _text(unquote_to_bytes(encoded))


def _decoded_words(value: str) -> str:
    try:
        return str(make_header(decode_header(value))) or value
    except (LookupError, ValueError, MessageError):
        return value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
