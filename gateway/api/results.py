"""Results: the document, its pages, their pictures and the figures cut out of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.api.openapi import FORMATS_HERE, RETRY_AFTER, Responses, content
from gateway.api.outcomes import find_page, refuse_without_result
from gateway.api.parts import part_response
from gateway.api.problems import answers
from gateway.api.rendering import document_source, page_source, rendered
from gateway.api.responses import NoStoreResponse
from gateway.dependencies import CallerDep, CorrectionsDep, DrawingDep, JobAnswerDep, StoreDep
from gateway.formats.html import fragment
from gateway.formats.layout import Layout
from gateway.formats.negotiation import negotiate
from shared.boxes import draw, shrink
from shared.contract import view
from shared.contract.document import DocumentResult, PageBlock, PageResult
from shared.contract.job import StoredJob
from shared.errors import NotFound, PreprocessingError, ResultExpired, StateError
from shared.sandbox import Failures

router = APIRouter(prefix="/api/v1/jobs", tags=["results"])

DRAW_SECONDS: Final = 20.0
LATER: Final[Responses] = {
    202: {"model": view.JobView, "description": "not yet", "headers": {"Retry-After": RETRY_AFTER}}
}
WHOLE: Final[Responses] = {200: {"model": DocumentResult}}
ONE_PAGE: Final[Responses] = {200: {"model": PageResult}}
PICTURE: Final[Responses] = {200: {"description": "the picture", "content": content("image/webp")}}
FIGURE: Final[Responses] = {200: {"description": "the figure", "content": content("image/jpeg")}}
PARTS: Final[Responses] = {
    206: {"description": "the range that `Range` names"},
    304: {"description": "not changed since the ETag in If-None-Match"},
}
DRAWING: Final = Failures(
    timed_out=lambda: PreprocessingError("drawing took too long"),
    crashed=lambda: PreprocessingError("drawing crashed"),
    out_of_memory=lambda: PreprocessingError("drawing ran out of memory"),
)


class RenderedBlock(PageBlock):
    """A block, and its text as sanitised HTML."""

    html: str


class RenderedPage(PageResult):
    """A page whose blocks have ``html``; ``html`` of the page itself only where it has no blocks."""

    blocks: tuple[RenderedBlock, ...]
    html: str | None = None


FormatQuery = Annotated[str | None, Query(alias="format", description="takes precedence over Accept")]


class LayoutQuery:
    """The options of a submission that can be decided anew for every result."""

    def __init__(
        self,
        furniture: Annotated[bool | None, Query(description="keep running heads and page numbers")] = None,
        page_marks: Annotated[bool | None, Query(description="a comment before each page of the Markdown")] = None,
        join_pages: Annotated[bool | None, Query(description="join paragraphs and tables over page breaks")] = None,
    ) -> None:
        self._given = {"furniture": furniture, "page_marks": page_marks, "join_pages": join_pages}

    def of(self, job: StoredJob) -> Layout:
        """The query's options, and for those it leaves out the job's."""
        return Layout(
            **{name: getattr(job.options, name) if given is None else given for name, given in self._given.items()}
        )


LayoutDep = Annotated[LayoutQuery, Depends()]


@router.get(
    "/{job_id}/result",
    response_class=Response,
    summary="Get the result",
    responses=WHOLE | LATER | answers(400, 404, "job-failed", 410, "payload-missing"),
    openapi_extra=FORMATS_HERE,
)
async def get_result(
    job_id: str,
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    answer: JobAnswerDep,
    layout: LayoutDep,
    corrections: CorrectionsDep,
    wanted: FormatQuery = None,
) -> Response:
    """Markdown unless ``Accept`` or ``format`` say otherwise; 202 with the job while there is more to come."""
    result_format = negotiate(request.headers.get("accept"), wanted)
    job = await store.job(job_id, caller.owner)
    refuse_without_result(job)
    if not job.finished:
        return answer.not_yet(job)
    source = document_source(store, job, await corrections.of(job.id), layout.of(job))
    return await rendered(store, job, source, result_format)


@router.get(
    "/{job_id}/document",
    summary="The document as JSON",
    response_model=DocumentResult,
    responses=answers(404, "not-finished", "job-failed", 410, "payload-missing"),
)
async def get_document(job_id: str, caller: CallerDep, store: StoreDep, corrections: CorrectionsDep) -> Response:
    """What `/result?format=json` gives, under one type: 409 `not-finished` while there is more to come."""
    job = await store.job(job_id, caller.owner)
    refuse_without_result(job)
    if not job.finished:
        raise StateError("The job has not finished yet")
    source = document_source(store, job, await corrections.of(job.id), Layout())
    return await rendered(store, job, source, negotiate(None, "json"))


@router.get(
    "/{job_id}/pages/{number}",
    response_class=Response,
    summary="Get a page",
    responses=ONE_PAGE | LATER | answers(400, 404, "job-failed", 410, "payload-missing"),
    openapi_extra=FORMATS_HERE,
)
async def get_page(
    job_id: str,
    number: int,
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    answer: JobAnswerDep,
    layout: LayoutDep,
    corrections: CorrectionsDep,
    wanted: FormatQuery = None,
    html: Annotated[bool, Query(description="JSON only: sanitised HTML of each block beside its text")] = False,
    original: Annotated[bool, Query(description="the engine's own text, without corrections")] = False,
) -> Response:
    """One page as soon as it has been read, by the document's own page number; JSON unless asked otherwise."""
    result_format = negotiate(request.headers.get("accept"), wanted, default="json")
    job = await store.job(job_id, caller.owner)
    page = await find_page(store, job, number)
    if page is None:
        return answer.not_yet(job)
    if not original:
        (page,) = await corrections.applied(job.id, [page])
    if result_format.name == "json":  # the page itself, not a document of one page
        body = await asyncio.to_thread(with_html, page, job.id) if html else page.model_dump_json()
        return NoStoreResponse(body, media_type=result_format.content_type)
    return await rendered(store, job, page_source(store, job, page, layout.of(job)), result_format)


@router.get(
    "/{job_id}/pages/{number}/image",
    response_class=Response,
    summary="Page image",
    responses=PICTURE | LATER | PARTS | answers(400, 404, "job-failed", 410, "payload-missing", 416),
)
async def get_page_image(
    job_id: str,
    number: int,
    request: Request,
    caller: CallerDep,
    store: StoreDep,
    drawing: DrawingDep,
    answer: JobAnswerDep,
    boxes: Annotated[bool, Query(description="draw the page's blocks on it")] = False,
    width: Annotated[int | None, Query(ge=16, le=2000, description="pixels; never wider than it is")] = None,
) -> Response:
    """The page as the engine saw it (WebP). 404 where the service keeps no pictures.

    `Range` and `If-None-Match` work for the picture as it is, without `boxes` and `width`.
    """
    job = await store.job(job_id, caller.owner)
    page = await find_page(store, job, number)
    if page is None:
        return answer.not_yet(job)
    if not boxes and width is None:
        part = await store.picture_part(job.id, number)
        if part is None:
            raise NotFound("No image of this page is kept")
        return part_response(request, part, "image/webp")
    image = await store.page_image(job.id, number)
    if image is None:
        raise NotFound("No image of this page is kept")
    if boxes:
        image = await drawing.run(draw, image, page, timeout=DRAW_SECONDS, failures=DRAWING)
    if width is not None:
        image = await drawing.run(shrink, image, width, timeout=DRAW_SECONDS, failures=DRAWING)
    return NoStoreResponse(image, media_type="image/webp")


@router.get(
    "/{job_id}/images/{name}",
    response_class=Response,
    summary="Get a figure",
    responses=FIGURE | PARTS | answers(404, 410, "payload-missing", 416),
)
async def get_figure(job_id: str, name: str, request: Request, caller: CallerDep, store: StoreDep) -> Response:
    """A figure by the name it has in the Markdown: ``images/<page>_<i>.jpg``. `Range` and `If-None-Match` work."""
    job = await store.job(job_id, caller.owner, pages=False)
    if job.expired:
        raise ResultExpired()
    part = await store.figure_part(job.id, name)
    if part is None:
        raise NotFound("No such figure")
    return part_response(request, part, "image/jpeg")


def with_html(page: PageResult, job_id: str) -> str:
    """The page as JSON, each block with its text as sanitised ``html``; figures by their URL on this gateway."""
    images = f"/api/v1/jobs/{job_id}/images/"
    blocks = tuple(RenderedBlock(**dict(block), html=fragment(block.text, images)) for block in page.blocks)
    html = None if blocks else fragment(page.markdown, images)
    return RenderedPage(**{**dict(page), "blocks": blocks}, html=html).model_dump_json()
