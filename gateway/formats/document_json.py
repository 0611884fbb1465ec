"""A document as one JSON object: ``shared.contract.document.DocumentResult``."""

from __future__ import annotations

from typing import Final

from gateway.formats.source import PageWriter, written
from shared.contract.document import DocumentResult, PageResult

END: Final = "]}"


class JsonWriter(PageWriter):
    """The bytes are those of the whole document's own ``model_dump_json``."""

    def __init__(self, job_id: str, engine: str) -> None:
        self._empty = DocumentResult(job_id=job_id, engine=engine, pages=())
        self._parting = ""

    def begin(self) -> str:
        return self._empty.model_dump_json().removesuffix(END)

    def page(self, page: PageResult) -> str:
        parting, self._parting = self._parting, ","
        return parting + page.model_dump_json()

    def end(self) -> str:
        return END


def as_json(document: DocumentResult) -> str:
    """The document as ``JsonWriter`` writes it."""
    return written(JsonWriter(document.job_id, document.engine), document.pages)
