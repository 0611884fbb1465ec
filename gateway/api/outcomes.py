"""Find a job's pages, or raise the reason why it has no result."""

from __future__ import annotations

from shared.contract import page_range
from shared.contract.document import PageResult
from shared.contract.job import StoredJob
from shared.errors import JobFailed, NotFound, ResultExpired
from shared.store.jobs import Store


def refuse_without_result(job: StoredJob) -> None:
    """Raises ``ResultExpired``, or ``JobFailed`` for a job that ended without a document."""
    if job.expired:
        raise ResultExpired()
    if job.status == "cancelled":
        raise JobFailed("The job was cancelled")
    if job.status == "failed":
        raise JobFailed(f"{job.error.code}: {job.error.detail}" if job.error else None)


async def find_page(store: Store, job: StoredJob, number: int) -> PageResult | None:
    """The page, or None while it may still come. Raises ``NotFound``, ``JobFailed`` and ``ResultExpired``."""
    if number not in page_range.parse(job.input.page_range, job.input.pages):
        raise NotFound(f"The job has no page {number}")
    if job.expired:
        raise ResultExpired()
    page = await store.page(job.id, number)
    if page is None and job.finished:
        refuse_without_result(job)
        raise NotFound(f"Page {number} was not read")
    return page
