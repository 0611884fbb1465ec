"""What was read: the document, its pages, their pictures and the figures cut out of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from gateway.api.filenames import content_disposition
from gateway.api.openapi import RETRY_AFTER, Responses, content
from gateway.api.problems import answers
from gateway.api.responses import NO_STORE, job_answer
from gateway.dependencies import CallerDep
from gateway.formats import Format, negotiate
from gateway.formats.archive import archive, as_json
from gateway.formats.html import CSP, html
from gateway.formats.markdown import markdown
from gateway.formats.text import text
from gateway.services import Services, ServicesDep
from shared.boxes import draw
from shared.contract import page_range, view
from shared.contract.document import Document, Page
from shared.contract.job import Job
from shared.errors import JobFailed, NotFound, PreprocessingError, ResultExpired
from shared.sandbox import Failures

router = APIRouter(prefix="/api/v1/jobs", tags=["results"])

DRAW_SECONDS: Final = 20.0
LATER: Final[Responses] = {
    202: {"model": view.JobView, "description": "not yet", "headers": {"Retry-After": RETRY_AFTER}}
}
TEXTS: Final = content("text/markdown", "text/html", "text/plain", "application/zip")
FORMATS: Final[Responses] = {200: {"model": Document, "content": TEXTS}}
ONE_PAGE: Final[Responses] = {200: {"model": Page, "content": TEXTS}}
PICTURE: Final[Responses] = {200: {"description": "the picture", "content": content("image/webp")}}
FIGURE: Final[Responses] = {200: {"description": "the figure", "content": content("image/jpeg")}}
Figures = Callable[[], Awaitable[Mapping[str, bytes]]]

FormatQuery = Annotated[Format | None, Query(alias="format", description="goes before Accept")]


@router.get(
    "/{job_id}/result",
    response_class=Response,
    summary="The document",
    responses=FORMATS | LATER | answers(400, 404, 409, 410),
)
async def get_result(
    job_id: str, request: Request, services: ServicesDep, caller: CallerDep, wanted: FormatQuery = None
) -> Response:
    """Markdown unless ``Accept`` or ``format`` say otherwise; 202 with the job while there is more to come."""
    kind = negotiate(request.headers.get("accept"), wanted)
    job = await services.store.job(job_id, caller.owner)
    refuse_without_result(job)
    if not job.finished:
        return job_answer(services, request, job, 202)
    document = Document(job_id=job.id, engine=job.engine or "", pages=tuple(await services.store.pages(job.id)))
    return await rendered(job, document, kind, lambda: services.store.figures(job.id))


@router.get(
    "/{job_id}/pages/{number}",
    response_class=Response,
    summary="One page",
    responses=ONE_PAGE | LATER | answers(400, 404, 409, 410),
)
async def get_page(
    job_id: str, number: int, request: Request, services: ServicesDep, caller: CallerDep, wanted: FormatQuery = None
) -> Response:
    """One page as soon as it has been read, by the document's own page number; JSON unless asked otherwise."""
    accept = request.headers.get("accept", "*/*")
    kind = Format.JSON if accept == "*/*" and wanted is None else negotiate(accept, wanted)
    job = await services.store.job(job_id, caller.owner)
    page = await find_page(services, job, number)
    if page is None:
        return job_answer(services, request, job, 202)
    if kind is Format.JSON:
        return Response(page.model_dump_json(), headers=NO_STORE, media_type=kind.content_type)
    document = Document(job_id=job.id, engine=job.engine or "", pages=(page,))
    return await rendered(job, document, kind, lambda: _figures_of(services, job.id, page), images="../images/")


@router.get(
    "/{job_id}/pages/{number}/image",
    response_class=Response,
    summary="One page's picture",
    responses=PICTURE | LATER | answers(400, 404, 409, 410),
)
async def get_page_image(
    job_id: str,
    number: int,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    boxes: Annotated[bool, Query(description="draw the page's blocks on it")] = False,
) -> Response:
    """The page as the engine saw it (WebP). 404 where the service keeps no pictures."""
    job = await services.store.job(job_id, caller.owner)
    page = await find_page(services, job, number)
    if page is None:
        return job_answer(services, request, job, 202)
    image = await services.store.page_image(job.id, number)
    if image is None:
        raise NotFound("No picture of this page was kept")
    if boxes:
        image = await services.sandbox.run(draw, image, page, timeout=DRAW_SECONDS, failures=DRAWING)
    return Response(image, headers=NO_STORE, media_type="image/webp")


@router.get(
    "/{job_id}/images/{name}", response_class=Response, summary="A figure", responses=FIGURE | answers(404, 410)
)
async def get_figure(job_id: str, name: str, services: ServicesDep, caller: CallerDep) -> Response:
    """A figure by the name it has in the Markdown: ``images/<page>_<i>.jpg``."""
    job = await services.store.job(job_id, caller.owner, pages=False)
    if job.expired:
        raise ResultExpired()
    figure = await services.store.figure(job.id, name)
    if figure is None:
        raise NotFound("There is no figure of this name")
    return Response(figure, headers=NO_STORE, media_type="image/jpeg")


DRAWING: Final = Failures(
    timed_out=lambda: PreprocessingError("drawing took too long"),
    crashed=lambda: PreprocessingError("drawing crashed"),
    out_of_memory=lambda: PreprocessingError("drawing ran out of memory"),
)


def refuse_without_result(job: Job) -> None:
    """Raises ``ResultExpired``, or ``JobFailed`` for a job that ended without a document."""
    if job.expired:
        raise ResultExpired()
    if job.status == "cancelled":
        raise JobFailed("The job was cancelled")
    if job.status == "failed":
        raise JobFailed(f"{job.error.code}: {job.error.detail}" if job.error else None)


async def find_page(services: Services, job: Job, number: int) -> Page | None:
    """The page, or None while it may still come. Raises ``NotFound``, ``JobFailed`` and ``ResultExpired``."""
    if number not in page_range.parse(job.input.page_range, job.input.pages):
        raise NotFound(f"The job has no page {number}")
    if job.expired:
        raise ResultExpired()
    page = await services.store.page(job.id, number)
    if page is None and job.finished:
        refuse_without_result(job)
        raise NotFound(f"Page {number} was not read")
    return page


async def _figures_of(services: Services, job_id: str, page: Page) -> dict[str, bytes]:
    found = {figure.name: await services.store.figure(job_id, figure.name) for figure in page.figures}
    return {name: jpeg for name, jpeg in found.items() if jpeg is not None}


async def rendered(job: Job, document: Document, kind: Format, figures: Figures, images: str = "images/") -> Response:
    """The document in one format. Written in a thread: a long one takes a while."""
    headers = {**NO_STORE, "Vary": "Accept"}
    name = f"{job.input.filename.rpartition('.')[0] or job.input.filename}.{kind}"
    body: str | bytes
    if kind is Format.ZIP:
        body = await asyncio.to_thread(archive, document, await figures())
        headers["Content-Disposition"] = content_disposition(name)
    elif kind is Format.HTML:
        body = await asyncio.to_thread(html, document, images)
        headers["Content-Security-Policy"] = CSP
    else:
        write = {Format.MD: markdown, Format.JSON: as_json, Format.TXT: text}[kind]
        body = await asyncio.to_thread(write, document)
        headers["Content-Disposition"] = content_disposition(name, "inline")
    return Response(body, headers=headers, media_type=kind.content_type)
