"""Corrections of a page's text by a person; the engine's own text is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from gateway.api.outcomes import find_page
from gateway.api.problems import answers
from gateway.corrections import MAX_TEXT, corrected
from gateway.dependencies import CallerDep, CorrectionsDep, StoreDep
from shared.contract.document import PageBlock, PageResult
from shared.errors import BadOption, NotFound
from shared.store.jobs import Store

router = APIRouter(prefix="/api/v1/jobs", tags=["results"])
BlockNumber = Annotated[int, Path(ge=0, le=1_000_000, description="from 0, in the order of the page's `blocks`")]


class BlockText(BaseModel):
    """The block's text in Markdown."""

    text: str = Field(max_length=MAX_TEXT)


@router.put(
    "/{job_id}/pages/{number}/blocks/{block}",
    summary="Correct a block",
    responses=answers(400, 404, "job-failed", 410, "payload-missing"),
)
async def correct_block(
    job_id: str,
    number: int,
    block: BlockNumber,
    caller: CallerDep,
    store: StoreDep,
    corrections: CorrectionsDep,
    body: BlockText | None = None,  # asked for below: another caller's block is 404 whatever was sent
) -> PageBlock:
    """Every format has the new text from now on, and says that it was corrected."""
    page = await _page(store, job_id, caller.owner, number, block)
    if body is None:
        raise BadOption('the body is missing: {"text": "..."}')
    await corrections.put(job_id, number, block, body.text)
    return corrected(page, {block: body.text}).blocks[block]


@router.delete(
    "/{job_id}/pages/{number}/blocks/{block}", status_code=204, summary="Undo a correction",
    responses=answers(400, 404, "job-failed", 410, "payload-missing"),
)  # fmt: skip
async def restore_block(
    job_id: str, number: int, block: BlockNumber, caller: CallerDep, store: StoreDep, corrections: CorrectionsDep
) -> None:
    """The engine's text stands again. Nothing happens where nothing was corrected."""
    await _page(store, job_id, caller.owner, number, block)
    await corrections.remove(job_id, number, block)


async def _page(store: Store, job_id: str, owner: str, number: int, block: int) -> PageResult:
    page = await find_page(store, await store.job(job_id, owner, pages=False), number)
    if page is None or block >= len(page.blocks):
        raise NotFound(f"Page {number} has no block {block}")
    return page
