r"""Text that was printed, as Markdown that shows it as it is.

What Markdown (CommonMark, tables, strikethrough, ``$`` and ``\[`` formulas) would take for its own is escaped, and
nothing else: ``snake_case``, ``5 * 3`` and ``AT&T`` stay as they are.
"""

from __future__ import annotations

import re

_ANYWHERE = re.compile(
    r"""
    [\\`]
    | \*(?=\S) | (?<=\S)\*                      # emphasis
    | (?<![^\W_])_(?=\S) | (?<=\S)_(?![^\W_])   # emphasis, at the edge of a word
    | <(?=[A-Za-z/!?])                          # a tag
    | &(?=\#?\w{1,31};)                         # an entity
    | \](?=\s?[(\[:])                           # a link, a picture, or what defines one
    """,
    re.VERBOSE,
)
_LEADING = re.compile(
    r"""
    ^(?: (?=\#{1,6}(?:\s|$)) | (?=>) | (?=[-+](?:\s|$)) | (?=(?:=+|-+|_{3,})\s*$)   # heading, quotation, item, rule
       | (?=[-_](?:\s*[-_]){2,}\s*$) | (?=\|) | (?=:?-+:?\s*\|)                     # rule, table
       | (?P<number>\d{1,9})(?=[.)](?:\s|$)) )                                      # numbered item
    """,
    re.VERBOSE,
)
_FORMULA = re.compile(r"\$(?=\S)(?:[^$]*[^\s$])?\$|\$\$")


def escaped(text: str) -> str:
    """One line, or the lines of one paragraph run together, without a list's marker."""
    text = _ANYWHERE.sub(r"\\\g<0>", text)
    if text.count("~") > 1:  # struck through
        text = text.replace("~", r"\~")
    if _FORMULA.search(text):
        text = text.replace("$", r"\$")
    return _LEADING.sub(lambda match: (match["number"] or "") + "\\", text, count=1)
