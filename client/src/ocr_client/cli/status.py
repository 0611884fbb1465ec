"""``ocr status``"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import DONE

if TYPE_CHECKING:
    from ocr_client.models import Job

Watch = Annotated[bool, typer.Option("-w", "--watch", help="until it has ended, a line for each change")]


def status(ctx: typer.Context, job: given.JobId, watch: Watch = False, json_lines: given.Json = False) -> int:
    """Show the state of a job. With --watch the exit code says how it ended."""
    from ocr_client.cli.views import code_of_job, fault_lines, job_json, job_line

    seen: list[str] = []

    def show(job: Job) -> None:
        line = json.dumps(job_json(job), ensure_ascii=False) if json_lines else job_line(job)
        if seen[-1:] != [line]:
            seen.append(line)
            print(line, flush=True)

    with ctx.obj.client() as client:
        found = client.wait(job, watcher=show) if watch else client.job(job)
    show(found)
    if not json_lines:
        for line in fault_lines(found):
            print(line)
    return code_of_job(found) if watch else DONE
