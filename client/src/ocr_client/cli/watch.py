"""``ocr watch``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocr_client.cli import options as given
from ocr_client.cli.exit_codes import BAD_USAGE
from ocr_client.cli.messages import say
from ocr_client.cli.submission import fields

Folder = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, show_default=False)]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="where results go")]
Every = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="between two looks at the folder")]


def watch(
    ctx: typer.Context,
    folder: Folder,
    output: Output,
    format: given.Formats = None,  # noqa: A002  # the name of the option
    include: given.Include = None,
    exclude: given.Exclude = None,
    pages: given.PageRange = None,
    type: given.TypeOption = None,  # noqa: A002
    mode: given.ModeOption = None,
    prompt: given.Prompt = None,
    text_layer: given.TextLayerOption = None,
    languages: given.Languages = None,
    priority: given.PriorityOption = None,
    full_names: given.FullNames = False,
    json_lines: given.Json = False,
    uploads: given.Uploads = 8,
    every: Every = 2.0,
    quiet: given.Quiet = False,
) -> int:
    """Read every file that comes into a folder, until Ctrl-C.

    A file is read when it has not changed between two looks, and again when it is newer than its results.
    """
    import asyncio

    from ocr_client.cli.folder_watch import FolderWatch, watch_folder
    from ocr_client.cli.reports import report_for
    from ocr_client.cli.run import RunSettings
    from ocr_client.cli.sources import FolderRules
    from ocr_client.cli.targets import Targets

    if output.resolve().is_relative_to(folder.resolve()):
        say("ocr: the results need a folder outside the one that is watched")
        return BAD_USAGE
    submitted = fields(
        pages=pages, type=type, mode=mode, prompt=prompt, text_layer=text_layer, languages=languages,
        priority=priority,
    )  # fmt: skip
    targets = Targets(tuple(map(str, format or ("md",))), output, full_names=full_names)
    rules = FolderRules(True, tuple(include or ()), tuple(exclude or ()))
    settings = RunSettings(submitted, targets, uploads, json_lines=json_lines)
    watched = FolderWatch(folder, rules, targets)
    return asyncio.run(watch_folder(ctx.obj, settings, watched, every, report_for(quiet=quiet, bars=False)))
