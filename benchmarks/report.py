"""What a measurement prints and draws: one JSON object a line, a table of ratios, two curves over the load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SAID = '{"case": '

WIDTH, HEIGHT, EDGE = 640, 320, 50


def say(case: str, **numbers: Any) -> None:
    """Print what a case measured, as one line of JSON that ``said`` finds again."""
    print(json.dumps({"case": case, **numbers}, ensure_ascii=False), flush=True)


@dataclass(frozen=True)
class Figure:
    """A measured value beside a reference of the same run. ``goal``: what the ratio is to be, with the sign before."""

    measured: str
    value: float
    reference: str
    reference_value: float
    goal: str = ""

    @property
    def ratio(self) -> float:
        return self.value / self.reference_value


def table(figures: Iterable[Figure]) -> str:
    """As Markdown; with a column of goals where there are any."""
    found = list(figures)
    goals = any(figure.goal for figure in found)
    head = ["measured", "value", "reference of the same run", "value", "ratio", *(["goal"] if goals else [])]
    lines = [_row(head), "|" + "---|" * len(head)]
    for figure in found:
        cells = [figure.measured, f"{figure.value:g}", figure.reference, f"{figure.reference_value:g}"]
        lines.append(_row([*cells, f"{figure.ratio:.2f}", *([figure.goal] if goals else [])]))
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
