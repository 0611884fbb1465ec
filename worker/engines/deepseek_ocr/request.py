"""What a caller asked for, as the model's prompt and mode."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_ocr.modes import DEFAULT, MODES, Mode
from deepseek_ocr.prompts import DOCUMENT, OTHER_IMAGE, PromptError, custom
from deepseek_ocr.style import DEFAULT_STYLE, MarkdownStyle
from shared.contract.options import Options, ReadType
from shared.errors import BadOption, BadPrompt


@dataclass(frozen=True, slots=True)
class PageRequest:
    prompt: str
    mode: Mode
    style: MarkdownStyle = DEFAULT_STYLE


def request_of(options: Options) -> PageRequest:
    """Raises BadPrompt or BadOption."""
    style = MarkdownStyle(math=options.math.value, table=options.table.value, clean=options.clean)
    return PageRequest(prompt_for(options), mode_for(options), style)


def prompt_for(options: Options) -> str:
    """A prompt of the caller's own goes before ``type``. Raises BadPrompt."""
    if options.prompt is None:
        return DOCUMENT if options.type is ReadType.DOCUMENT else OTHER_IMAGE
    try:
        return custom(options.prompt)
    except PromptError as error:
        raise BadPrompt(f"The prompt cannot be used: {error}") from error


def mode_for(options: Options) -> Mode:
    """Every mode is served by the one engine; without one it is the model's default. Raises BadOption."""
    name = options.mode or DEFAULT.name
    if name not in MODES:
        raise BadOption(f"The engine has no mode {name}; it has {', '.join(MODES)}")
    return MODES[name]
