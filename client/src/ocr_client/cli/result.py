"""``ocr result``"""

from __future__ import annotations

import sys
from pathlib import Path, PurePath
from typing import Annotated

import typer

from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import BAD_USAGE, DONE, NOT_EVERY_PAGE
from ocr_client.cli.messages import say

Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR|FILE", help="default: stdout")]


def result(ctx: typer.Context, job: given.JobId, output: Output = None, format: given.Formats = None) -> int:  # noqa: A002
    """Fetch the result of a job."""
    from ocr_client.cli.run import with_newline
    from ocr_client.cli.sources import SourceFile
    from ocr_client.cli.targets import targets_of, write_whole

    with ctx.obj.client() as client:
        found = client.job(job)
        source = SourceFile(found.filename, PurePath(PurePath(found.filename).name))
        targets = targets_of(output, format or (), [source], full_names=False)
        if wrong := targets.conflict([source]):
            say(f"ocr: {wrong}")
            return BAD_USAGE
        if targets.on_stdout:
            sys.stdout.write(with_newline(client.result(found, targets.formats[0]).decode()))
        for kind, path in targets.paths(source).items():
            write_whole(path, client.result(found, kind))
            say(f"{found.filename}: written to {path}")
    if found.faults:
        pages = ", ".join(f"{page.number} ({page.status}: {page.reason})" for page in found.faults)
        say(f"ocr: {found.filename}: not every page could be read: {pages}")
    return NOT_EVERY_PAGE if found.faults else DONE
