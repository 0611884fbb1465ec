"""Search in the stored text of one owner's jobs, newest first, within bounds: it says when it did not see all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from shared.contract.document import Box, PageResult
from shared.contract.job import StoredJob
from shared.store.jobs import Store

SECONDS: Final = 3.0
MAX_JOBS: Final = 1000
CONTEXT_CHARACTERS: Final = 60
HITS_OF_PAGE: Final = 3


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One place where the words stand. ``block`` counts from 0, as in the page's ``blocks``; ``bbox`` is that block's.

    ``snippet``: the words with some characters on either side.
    """

    job: str
    filename: str
    page: int
    block: int
    snippet: str
    bbox: Box


@dataclass(frozen=True, slots=True)
class Found:
    """``complete`` is false when time or the number of hits ended the search before the last job."""

    hits: list[SearchHit]
    complete: bool


async def search(store: Store, owner: str, query: str, limit: int) -> Found:
    """The blocks of the owner's finished pages that contain ``query``, letter case aside; at most ``limit``."""
    wanted, hits = query.casefold(), list[SearchHit]()
    deadline, seen, cursor = time.monotonic() + SECONDS, 0, None
    while seen < MAX_JOBS:
        jobs, cursor = await store.jobs(owner, limit=50, cursor=cursor)
        for job in jobs:
            seen += 1
            if job.progress.pages_done:
                async for pages in store.pages_in_turn(job.id):
                    hits += await asyncio.to_thread(_of_job, job, pages, wanted)
            if len(hits) >= limit or time.monotonic() > deadline:
                return Found(hits[:limit], complete=False)
        if cursor is None:
            return Found(hits, complete=True)
    return Found(hits, complete=False)


def _of_job(job: StoredJob, pages: list[PageResult], wanted: str) -> list[SearchHit]:
    hits: list[SearchHit] = []
    for page in pages:
        if wanted not in page.markdown.casefold():
            continue
        blocks = ((i, block) for i, block in enumerate(page.blocks) if wanted in block.text.casefold())
        for _, (i, block) in zip(range(HITS_OF_PAGE), blocks, strict=False):
            hits.append(SearchHit(job.id, job.input.filename, page.number, i, snippet(block.text, wanted), block.bbox))
    return hits


def snippet(text: str, wanted: str) -> str:
    """``wanted`` (case-folded) with its surroundings, in one line."""
    line = " ".join(text.split())
    at = max(0, line.casefold().find(wanted))
    first, last = max(0, at - CONTEXT_CHARACTERS), at + len(wanted) + CONTEXT_CHARACTERS
    return ("…" if first else "") + line[first:last] + ("…" if last < len(line) else "")
