"""A job as a line or as JSON."""

from __future__ import annotations

from typing import Any

from ocr_client.cli.exit_codes import DONE, FAILED, NOT_EVERY_PAGE
from ocr_client.models import Job


def job_line(job: Job) -> str:
    return f"{job.id} {job.status} {job.filename} {job.progress.pages_done} of {job.progress.pages_total} pages"


def job_json(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "status": job.status,
        "file": job.filename,
        "pages": job.progress.pages_total,
        "pages_done": job.progress.pages_done,
        "pages_failed": job.progress.pages_failed,
        "engine": job.engine,
        "faults": [[page.number, page.status, page.reason] for page in job.faults],
        "error": {"code": job.error.code, "detail": job.error.detail} if job.error else None,
    }


def fault_lines(job: Job) -> list[str]:
    lines = [f"page {page.number} {page.status}: {page.reason}" for page in job.faults]
    return lines + ([f"{job.error.code}: {job.error.detail}"] if job.error else [])


def code_of_job(job: Job) -> int:
    """The exit code for a job that has ended."""
    if not job.has_result:
        return FAILED
    return NOT_EVERY_PAGE if job.faults else DONE
