"""``ocr read``, or ``ocr`` alone"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import BAD_USAGE
from ocr_client.cli.messages import say
from ocr_client.cli.submission import fields, metadata, seconds

Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="files, folders with -r, globs, URLs, - for stdin", show_default=False),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR|FILE", help="default: stdout")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="read the files in folders")]
StdinName = Annotated[str, typer.Option("--name", help="of the file on stdin")]
Follow = Annotated[bool, typer.Option("--follow", help="print each page as soon as it has been read")]
Detach = Annotated[bool, typer.Option("--detach", help="submit, print the ids of the jobs, do not wait")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="leave out files whose results are there and newer")
]


def read(
    ctx: typer.Context,
    sources: Sources,
    output: Output = None,
    format: given.Formats = None,  # noqa: A002  # the name of the option
    recursive: Recursive = False,
    include: given.Include = None,
    exclude: given.Exclude = None,
    pages: given.PageRange = None,
    type: given.TypeOption = None,  # noqa: A002
    mode: given.ModeOption = None,
    prompt: given.Prompt = None,
    text_layer: given.TextLayerOption = None,
    languages: given.Languages = None,
    priority: given.PriorityOption = None,
    deadline: given.Deadline = None,
    metadata_pairs: given.Metadata = None,
    webhook: given.WebhookUrl = None,
    name: StdinName = "stdin",
    follow: Follow = False,
    detach: Detach = False,
    skip_existing: SkipExisting = False,
    force: given.Force = False,
    full_names: given.FullNames = False,
    json_lines: given.Json = False,
    uploads: given.Uploads = 8,
    quiet: given.Quiet = False,
    no_progress: given.NoProgress = False,
) -> int:
    """Read files and print or write their text. The word `read` may be left out.

    A second run finds the jobs of the first by content and options, and uploads nothing again.
    """
    import asyncio

    from ocr_client.cli.reports import report_for
    from ocr_client.cli.run import RunSettings
    from ocr_client.cli.session import misfit, run_sources, stored_stdin
    from ocr_client.cli.sources import FolderRules, SourceFile, collect
    from ocr_client.cli.targets import targets_of

    submitted = fields(
        pages=pages, type=type, mode=mode, prompt=prompt, text_layer=text_layer, languages=languages,
        priority=priority, deadline=seconds(deadline), metadata=metadata(metadata_pairs), webhook_url=webhook,
        cache=False if force else None,
    )  # fmt: skip
    found = collect(sources, FolderRules(recursive, tuple(include or ()), tuple(exclude or ())))
    good = [one for one in found if isinstance(one, SourceFile)]
    targets = targets_of(output, format or (), good, full_names=full_names)
    settings = RunSettings(submitted, targets, uploads, force, detach, follow, json_lines)
    if wrong := misfit(good, settings):
        say(f"ocr: {wrong}")
        return BAD_USAGE
    if skip_existing:
        found = [one for one in found if not (isinstance(one, SourceFile) and targets.has_all(one))]
    with tempfile.TemporaryDirectory(prefix="ocr-") as folder:
        ready = [stored_stdin(one, name, Path(folder)) for one in found]
        report = report_for(quiet=quiet, bars=not (no_progress or follow))
        return asyncio.run(run_sources(ctx.obj, settings, ready, report))
