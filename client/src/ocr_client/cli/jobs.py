"""``ocr jobs``"""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer

from ocr_client.choices import Status
from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import DONE

OfStatus = Annotated[Status | None, typer.Option("--status", help="only jobs in this state")]
Limit = Annotated[int, typer.Option("-n", "--limit", min=0, help="at most so many; 0: all")]


def jobs(ctx: typer.Context, status: OfStatus = None, limit: Limit = 50, json_lines: given.Json = False) -> int:
    """List jobs, newest first."""
    from ocr_client.cli.views import job_json, job_line

    with ctx.obj.client() as client:
        for job in islice(client.jobs(status=status), limit or None):
            print(json.dumps(job_json(job), ensure_ascii=False) if json_lines else job_line(job), flush=True)
    return DONE
