"""From the options of a command to the fields of a submission."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str | None) -> float | None:
    """``10m`` -> 600."""
    if text is None:
        return None
    if (found := DURATION.fullmatch(text)) is None:
        raise typer.BadParameter(f"{text} is no time; write for instance 90, 90s, 10m or 1.5h", param_hint="--deadline")
    return float(found[1]) * SECONDS[found[2]]


def metadata(pairs: Iterable[str] | None) -> dict[str, str] | None:
    """``["order=17"]`` -> ``{"order": "17"}``."""
    if not pairs:
        return None
    split = [pair.partition("=") for pair in pairs]
    if wrong := next((name for name, equals, _ in split if not name or not equals), None):
        raise typer.BadParameter(f"{wrong} is not NAME=VALUE", param_hint="--metadata")
    return {name: value for name, _, value in split}


def fields(**options: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}
