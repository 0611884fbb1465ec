"""Search: which of the caller's pages contain some words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import CallerDep, StoreDep
from gateway.search import search
from shared.contract.document import Box

router = APIRouter(prefix="/api/v1", tags=["results"])


class SearchHit(BaseModel):
    """``block`` counts from 0, as in the page's ``blocks``; ``bbox`` is the block's."""

    job: str
    filename: str
    page: int
    block: int
    snippet: str
    bbox: Box


class SearchResult(BaseModel):
    items: list[SearchHit]
    complete: bool = Field(description="false: time or `limit` ended the search before the oldest job")


@router.get("/search", summary="Search in results", responses=answers(400))
async def search_results(
    caller: CallerDep,
    store: StoreDep,
    q: Annotated[str, Query(min_length=2, max_length=200, description="words to find; letter case does not count")],
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> SearchResult:
    """The blocks of the caller's stored pages that contain ``q``, the newest job first."""
    found = await search(store, caller.owner, q, limit)
    items = [
        SearchHit(
            job=hit.job, filename=hit.filename, page=hit.page, block=hit.block, snippet=hit.snippet, bbox=hit.bbox
        )
        for hit in found.hits
    ]
    return SearchResult(items=items, complete=found.complete)
