"""Search: which of the caller's pages contain some words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gateway.api.problems import answers
from gateway.dependencies import CallerDep, StoreDep
from gateway.search import SearchHit, search

router = APIRouter(prefix="/api/v1", tags=["results"])


class SearchResult(BaseModel):
    items: list[SearchHit]
    complete: bool = Field(description="false: time or `limit` ended the search before the oldest job")


@router.get("/search", summary="Search results", responses=answers(400))
async def search_results(
    caller: CallerDep,
    store: StoreDep,
    q: Annotated[str, Query(min_length=2, max_length=200, description="words to find; letter case does not count")],
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> SearchResult:
    """The blocks of the caller's stored pages that contain ``q``, the newest job first."""
    found = await search(store, caller.owner, q, limit)
    return SearchResult(items=found.hits, complete=found.complete)
