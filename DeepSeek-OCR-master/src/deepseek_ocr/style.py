"""How a page's Markdown is to be written, where there is a choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MarkdownStyle:
    """``math``: formulas in ``$`` (read by most viewers) or in brackets, as the model writes them.

    ``table``: rectangular tables without spans as pipes, the others as HTML; or all as HTML. ``clean``: take out the
    space that the model writes after a hyphen; everything else is done either way, for it loses nothing.
    """

    math: Literal["dollars", "brackets"] = "dollars"
    table: Literal["markdown", "html"] = "markdown"
    clean: bool = True


DEFAULT_STYLE = MarkdownStyle()
