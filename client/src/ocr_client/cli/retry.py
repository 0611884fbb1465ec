"""``ocr retry``"""

from __future__ import annotations

from typing import Annotated

import typer

from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import DONE
from ocr_client.cli.messages import say

Page = Annotated[list[int] | None, typer.Option("--page", min=1, help="default: those that failed; may be repeated")]


def retry(
    ctx: typer.Context,
    job: given.JobId,
    page: Page = None,
    type: given.TypeOption = None,  # noqa: A002  # the name of the option
    mode: given.ModeOption = None,
    prompt: given.Prompt = None,
    languages: given.Languages = None,
) -> int:
    """Read pages of a job again, each as a new job, whose id is printed."""
    with ctx.obj.client() as client:
        found = client.job(job)
        numbers = page or [fault.number for fault in found.faults]
        if not numbers:
            say(f"{found.filename}: no page failed; say which with --page")
        for number in numbers:
            new = client.retry_page(found, number, type=type, mode=mode, prompt=prompt, languages=languages)
            print(f"{new.id} page {number} of {found.filename}", flush=True)
    return DONE
