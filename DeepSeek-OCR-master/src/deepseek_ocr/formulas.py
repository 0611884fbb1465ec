"""Formulas as they are written: in ``$`` or in the model's own brackets."""

from __future__ import annotations

import re

REPLACED = {r"\coloneqq": ":=", r"\eqqcolon": "=:"}
"""LaTeX the model writes that common renderers lack; the authors' scripts replace the same two."""

_ENVIRONMENT = re.compile(r"\\(begin|end)\{\s+([A-Za-z]+\*?)\s*\}|\\(begin|end)\{([A-Za-z]+\*?)\s+\}")
_ENCLOSED = re.compile("[\u2460-\u24ff\u2776-\u2793\u3251-\u325f\u32b1-\u32bf]")
_DOLLAR = re.compile(r"(?<!\\)\$")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_PIPE = re.compile(r"\\?\|")


def replaced(text: str) -> str:
    """``text`` without the LaTeX that renderers lack."""
    for written, replacement in REPLACED.items():
        if written in text:
            text = text.replace(written, replacement)
    return text


def named(latex: str) -> str:
    """LaTeX without spaces in the names of its environments (``\\begin{ bmatrix}``), which renderers do not take."""
    return _ENVIRONMENT.sub(lambda found: rf"\{found[1] or found[3]}{{{found[2] or found[4]}}}", latex)


def body_of(latex: str) -> str:
    """LaTeX without spaces at its ends or blank lines."""
    return _BLANK_LINES.sub("\n", named(latex)).strip()


def in_dollars(latex: str) -> str:
    """An inline formula, on one line; empty for an empty one. A number in a circle is a sign of the text."""
    body = " ".join(_DOLLAR.sub(r"\\$", body_of(latex)).split())
    if body.endswith("\\") and not body.endswith("\\\\"):
        body += " "  # a backslash would take the dollar
    return body if not body or _ENCLOSED.fullmatch(body) else f"${body}$"


def on_its_own(latex: str, after: str = "") -> str:
    """A displayed formula: ``$$``, the formula and ``$$``, each on lines of its own. ``after``: punctuation behind."""
    body = "\n".join(line.rstrip() for line in _DOLLAR.sub(r"\\$", body_of(latex)).split("\n"))
    return f"$$\n{body}{after}\n$$" if body else ""


def for_a_cell(formula: str) -> str:
    """A written formula in which no ``|`` ends a cell of a pipe table."""
    return _PIPE.sub(lambda pipe: r"\Vert " if pipe[0] != "|" else r"\|", formula)


def for_html(formula: str) -> str:
    """A written formula in which nothing is taken for a tag."""
    return re.sub(r"&(?!\w+;|#\d+;)", "&amp;", formula).replace("<", "&lt;").replace(">", "&gt;")
