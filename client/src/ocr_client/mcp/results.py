"""What the tools answer: the structured output, and how a long document is handed out page by page."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence

from pydantic import BaseModel, Field

from ocr_client.document import Document, Page
from ocr_client.document_order import page_numbers
from ocr_client.models import Job


class PageFault(BaseModel):
    page: int
    status: str
    reason: str | None


class DocumentText(BaseModel):
    """Whole pages only: where not all fit, ``next_page`` is where ``read_pages`` goes on."""

    job_id: str
    status: str
    pages: int = Field(description="pages of the document that were read")
    faults: list[PageFault]
    truncated: bool
    next_page: int | None
    markdown: str


class Finding(BaseModel):
    page: int
    block: int
    bbox: tuple[int, int, int, int] = Field(description="pixels of the page image: left, top, right, bottom")
    snippet: str


class ExtractedTable(BaseModel):
    page: int
    csv: str


class ListedDocument(BaseModel):
    job_id: str
    filename: str
    status: str
    pages: int


SNIPPET_CHARACTERS = 80  # on each side of what was found


def handed_out(document: Document, pages: Sequence[Page], max_characters: int) -> DocumentText:
    """As many of ``pages`` as fit, at least one."""
    taken: list[str] = []
    left = max_characters
    rest: int | None = None
    for page in pages:
        text = f"<!-- page {page.number} -->\n\n{page.markdown.strip()}\n"
        if taken and len(text) > left:
            rest = page.number
            break
        taken.append(text)
        left -= len(text)
    faults = [PageFault(page=fault.number, status=fault.status, reason=fault.reason) for fault in document.faults]
    return DocumentText(
        job_id=document.job.id, status=document.job.status, pages=len(document.pages), faults=faults,
        truncated=rest is not None, next_page=rest, markdown="\n".join(taken),
    )  # fmt: skip


def chosen(document: Document, pages: str) -> list[Page]:
    """The pages that ``1-3,7`` or ``3-`` names, of those that were read."""
    last = max((page.number for page in document.pages), default=0)
    wanted = set(page_numbers(",".join(f"{part}{last}" if part.endswith("-") else part for part in pages.split(","))))
    return [page for page in document.pages if page.number in wanted]


def findings(document: Document, query: str) -> list[Finding]:
    """Blocks that contain the query, letter case aside, in the document's order."""
    wanted = query.casefold()
    found = []
    for page in document.pages:
        for number, block in enumerate(page.blocks):
            at = block.text.casefold().find(wanted)
            if at >= 0:
                snippet = block.text[max(0, at - SNIPPET_CHARACTERS) : at + len(query) + SNIPPET_CHARACTERS]
                found.append(Finding(page=page.number, block=number, bbox=block.bbox, snippet=snippet))
    return found


def tables(archive: bytes) -> list[ExtractedTable]:
    """The tables of a result in the format ``zip``, where they are ``tables/PAGE_N.csv``."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        names = [name for name in files.namelist() if name.startswith("tables/")]
        texts = [(int(name.removeprefix("tables/").partition("_")[0]), files.read(name)) for name in names]
    return [ExtractedTable(page=page, csv=_rewritten(text.decode("utf-8-sig"))) for page, text in texts]


def _rewritten(text: str) -> str:
    """With plain line ends."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(csv.reader(io.StringIO(text)))
    return out.getvalue()


def listed(job: Job) -> ListedDocument:
    return ListedDocument(job_id=job.id, filename=job.filename, status=job.status, pages=job.progress.pages_total)
