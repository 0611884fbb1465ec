"""A document as a zip, the same bytes for the same document, written as it is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from gateway.formats.archive_tables import csv_tables
from gateway.formats.document_json import JsonWriter
from gateway.formats.markdown import MarkdownWriter
from gateway.formats.source import Source, text_pieces
from shared.contract.document import PageResult

_FIGURE: Final = re.compile(r"\d{1,7}_\d{1,7}\.jpg", re.ASCII)
_AS_IT_IS: Final = 0  # level of deflate: a JPEG gets no smaller


async def archive(source: Source) -> AsyncIterator[bytes]:
    """``result.md``, ``result.json``, then of a few pages at a time ``images/<name>`` and ``tables/<page>_<i>.csv``.

    The pages are gone through three times rather than held. Raises ``ValueError`` for a name that is no figure's.
    """
    sent = _Sent()
    with ZipFile(sent, "w") as out:
        texts = MarkdownWriter(source.layout), JsonWriter(source.job_id, source.engine)
        for name, writer in zip(("result.md", "result.json"), texts, strict=True):
            with out.open(_entry(name), "w") as entry:
                async for text in text_pieces(writer, source):
                    await asyncio.to_thread(entry.write, text.encode())
                    yield sent.taken()
        async for pages in source.pages():
            async for name, jpeg in source.figures(pages):
                await asyncio.to_thread(out.writestr, _entry(f"images/{_figure(name)}"), jpeg, ZIP_DEFLATED, _AS_IT_IS)
                yield sent.taken()
            for name, table in await asyncio.to_thread(_tables, pages):
                out.writestr(_entry(name), table)
            yield sent.taken()
    yield sent.taken()


def _figure(name: str) -> str:
    if not _FIGURE.fullmatch(name):
        raise ValueError(f"not the name of a figure: {name!r}")
    return name


def _tables(pages: Sequence[PageResult]) -> list[tuple[str, str]]:
    return list(csv_tables(pages))


def _entry(name: str) -> ZipInfo:
    """Deflated in any case: who reads a zip as it comes in can tell the end of nothing else."""
    entry = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.external_attr, entry.create_system = ZIP_DEFLATED, 0o644 << 16, 3
    return entry


class _Sent:
    """What was written since it was last taken. It cannot be gone back in: that much of the zip may be sent already."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes, /) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """It holds nothing."""

    def taken(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
