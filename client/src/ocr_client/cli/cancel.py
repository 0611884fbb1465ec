"""``ocr cancel``"""

from __future__ import annotations

import typer

from ocr_client.cli import options as given
from ocr_client.cli.each import each_job


def cancel(ctx: typer.Context, jobs: given.JobIds) -> int:
    """Stop jobs; pages that were read stay readable."""
    return each_job(ctx.obj, jobs, lambda client, job: client.cancel(job), "is cancelled")
