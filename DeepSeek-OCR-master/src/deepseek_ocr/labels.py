"""The labels of markers: which name a kind of block, and what the model makes of them when it slips."""

from __future__ import annotations

import re

LABELS = frozenset(
    {
        "title", "sub_title", "text", "list", "table", "image", "equation", "image_caption", "table_caption",
        "table_footnote", "header", "footer", "page_number", "footnote", "reference", "code", "others",
    }
)  # fmt: skip
"""Labels that name a kind of block. Any other label is itself text of the page (``OCR this image``, ``Locate``)."""

HEADINGS = {"title": "# ", "sub_title": "## "}
CAPTIONS = frozenset({"table_caption", "table_footnote"})
"""Kinds whose marker stands between a table's marker and its text."""

_NAME = "|".join(sorted(LABELS, key=len, reverse=True))
_VARIANT = re.compile(rf"\s*({_NAME})(?:_begin|_end|_caption|_[0-9]+| group| of text)?\s*")
_UNCLOSED = re.compile(rf"\s*({_NAME})(?!\w)")
_RUN_ON = re.compile(rf"\s*({_NAME})(?=\W)[^\n]*\n")


def kind_of(label: str) -> str | None:
    """The kind that a closed label names, also in a variant (``text_begin``, ``equation group``); None for text."""
    found = _VARIANT.fullmatch(label)
    return found[1] if found else None


def split_unclosed(label: str) -> tuple[str, str] | None:
    """The kind and the text behind it, of a label whose end is missing; None if it begins with no kind."""
    found = _UNCLOSED.match(label)
    return (found[1], label[found.end() :]) if found else None


def has_run_on(label: str) -> bool:
    """Is ``label`` a kind and then a whole line of text? A label ends on its line."""
    return _RUN_ON.match(label) is not None


def may_become_kind(label: str) -> bool:
    """Is ``label`` the beginning of a kind's name? So does an output end that was cut inside a marker."""
    start = label.strip()
    return any(name.startswith(start) for name in LABELS)
