"""``ocr delete``"""

from __future__ import annotations

import typer

from ocr_client.cli import options as given
from ocr_client.cli.each import each_job


def delete(ctx: typer.Context, jobs: given.JobIds) -> int:
    """Delete jobs with their uploads and results; cancel them first where they run."""
    return each_job(ctx.obj, jobs, lambda client, job: client.delete(job), "is deleted")
