"""``ocr completion``"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ocr_client.cli.exit_codes import DONE

Shell = Annotated[Literal["bash", "zsh", "fish"], typer.Argument(show_default=False)]


def completion(shell: Shell) -> int:
    """Print the completion of this command: `eval "$(ocr completion bash)"`."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # of its own options, which add two to every help

    print(get_completion_script(prog_name="ocr", complete_var="_OCR_COMPLETE", shell=shell))
    return DONE


def prepare() -> None:
    """Before a line is completed: let the parser know the shells."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # of its own options, which add two to every help

    completion_init()
