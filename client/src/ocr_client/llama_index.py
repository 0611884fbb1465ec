"""A reader for LlamaIndex (extra ``llama-index``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document as LlamaDocument

from ocr_client.client import Client
from ocr_client.loaded import parts


class OCRReader(BasePydanticReader):  # type: ignore[misc]  # checked where LlamaIndex is not installed
    """Reads files, a document for each page; also as a ``file_extractor`` of ``SimpleDirectoryReader``.

    ``options`` are those of ``Client.submit``. The metadata are ``source``, ``page``, ``job_id`` and ``boxes``.
    """

    is_remote: bool = True
    base_url: str = "http://127.0.0.1:8000"
    api_key: str | None = None
    split: str = "page"
    options: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it for each reader

    def lazy_load_data(
        self, file_path: str | Path, extra_info: dict[str, Any] | None = None, fs: Any = None
    ) -> Iterator[LlamaDocument]:
        """``fs``: the fsspec file system that the file is on; None: this machine. Raises what ``Client.read`` does."""
        name = Path(file_path).name
        with Client(self.base_url, self.api_key) as client:
            if fs is None:
                read = client.read(file_path, **self.options)
            else:
                with fs.open(str(file_path), "rb") as content:
                    read = client.read(content.read(), filename=name, **self.options)
        for text, metadata in parts(read, str(file_path), by_page=self.split == "page"):
            document = LlamaDocument(text=text, metadata={**metadata, **(extra_info or {})})
            document.excluded_embed_metadata_keys = document.excluded_llm_metadata_keys = ["boxes", "job_id"]
            yield document
