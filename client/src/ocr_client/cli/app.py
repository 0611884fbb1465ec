"""The commands of ``ocr`` and the options that all of them have. What a command needs is imported when it is run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ocr_client.cli import cancel, completion, delete, doctor, jobs, mcp, read, result, retry, status, watch
from ocr_client.cli.arguments import Grammar, arranged
from ocr_client.cli.exit_codes import DONE, HELP
from ocr_client.cli.options import ServiceAddress

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "ocr"
COMPLETE_VARIABLE = "_OCR_COMPLETE"
URL = "http://127.0.0.1:8000"
COMMANDS: tuple[Callable[..., int], ...] = (
    read.read, watch.watch, jobs.jobs, status.status, result.result, cancel.cancel, delete.delete, retry.retry,
    doctor.doctor, completion.completion, mcp.mcp,
)  # fmt: skip


class OcrGroup(TyperGroup):
    """The group of all commands, whose options may stand anywhere on the line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the line. While it is being completed, with what is there of it."""
        known = [parameter for one in (self, *self.commands.values()) for parameter in one.params]
        grammar = Grammar(
            commands=set(self.commands),
            top={name for parameter in self.params for name in parameter.opts},
            with_value={
                name
                for parameter in known
                if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
                for name in parameter.opts
            },
        )
        return super().parse_args(ctx, arranged(args, grammar) if args else args)


app = typer.Typer(
    name=PROGRAM, cls=OcrGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}, epilog=HELP,
)  # fmt: skip


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(f"{PROGRAM} {metadata.version('ocr-client')}")
        raise typer.Exit


@app.callback()
def ocr(
    ctx: typer.Context,
    url: Annotated[str, typer.Option(envvar="OCR_URL", help="the service", show_envvar=True)] = URL,
    api_key: Annotated[
        str | None, typer.Option(envvar="OCR_API_KEY", help="better in the variable", show_envvar=True)
    ] = None,
    patience: Annotated[float, typer.Option(metavar="SECONDS", help="how long to retry over outages")] = 60.0,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version)] = False,
) -> None:
    """Read documents with an OCR service: `ocr scan.pdf`, `ocr -r folder -o texts`."""
    ctx.obj = ServiceAddress(url, api_key, patience)


for _command in COMMANDS:
    app.command()(_command)


def run_command(arguments: list[str]) -> int:
    """Run one command; its exit code. Raises what it raises."""
    if COMPLETE_VARIABLE in os.environ:
        completion.prepare()
    try:
        return typer.main.get_command(app)(arguments, prog_name=PROGRAM, standalone_mode=False) or DONE
    except typer.TyperException as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return error.exit_code
