"""Mutants that no test can notice, because the change has no effect that anyone could see; each with its reason.

``equivalent_mutants.toml`` lists them by file, function and the lines before and after the change, without indents. An
entry that a test notices after all, or that no longer is a mutant, is reported: the list must not grow old.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

GOAL: Final = 0.9  # of the other mutants, in each module
LISTED: Final = Path(__file__).with_name("equivalent_mutants.toml")


class Change(NamedTuple):
    """``function``: ``Class.method``, empty in Lua. ``before``, ``after``: the lines that differ, stripped."""

    file: str
    function: str
    before: str
    after: str

    def __str__(self) -> str:
        old, new = (text.replace("\n", "\n      ") for text in (self.before, self.after))
        return f"{self.file} {self.function}\n    - {old}\n    + {new}"


def equivalent_mutants() -> dict[Change, str]:
    """Change -> why it has no effect."""
    listed = tomllib.loads(LISTED.read_text("utf-8"))
    return {
        Change(file, entry.get("function", ""), entry["before"], entry["after"]): entry["reason"]
        for file, entries in listed.items()
        for entry in entries
    }


def differing(before: str, after: str) -> tuple[str, str]:
    """The lines of two texts between the first and the last that differ, stripped."""
    old, new = ([line.strip() for line in text.splitlines()] for text in (before, after))
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return "\n".join(old), "\n".join(new)
