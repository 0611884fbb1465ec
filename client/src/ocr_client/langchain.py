"""A document loader for LangChain (extra ``langchain``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document as LangChainDocument

from ocr_client.async_client import AsyncClient
from ocr_client.client import Client
from ocr_client.document import Document
from ocr_client.loaded import parts


class OCRLoader(BaseLoader):  # type: ignore[misc]  # checked where LangChain is not installed
    """Reads one file. ``mode``: a LangChain document for each page, or one for all.

    ``options`` are those of ``Client.submit``. The metadata are ``source``, ``page``, ``job_id`` and ``boxes``.
    Raises what ``Client.read`` raises.
    """

    def __init__(
        self,
        file_path: str | Path,
        *,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        split: Literal["page", "document"] = "page",
        **options: Any,
    ) -> None:
        self._path, self._service = Path(file_path), (base_url, api_key)
        self._split, self._options = split, options

    def lazy_load(self) -> Iterator[LangChainDocument]:
        with Client(*self._service) as client:
            yield from self._documents(client.read(self._path, **self._options))

    async def alazy_load(self) -> AsyncIterator[LangChainDocument]:
        async with AsyncClient(*self._service) as client:
            for document in self._documents(await client.read(self._path, **self._options)):
                yield document

    def _documents(self, read: Document) -> Iterator[LangChainDocument]:
        for text, metadata in parts(read, str(self._path), by_page=self._split == "page"):
            yield LangChainDocument(page_content=text, metadata=metadata)
