"""What a measurement prints and draws: one JSON object a line, a table of ratios, two curves over the load."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, EDGE = 640, 320, 50


def say(case: str, **numbers: Any) -> None:
    """Print what a case measured, as one line of JSON."""
    print(json.dumps({"case": case, **numbers}, ensure_ascii=False), flush=True)


@dataclass(frozen=True)
class Comparison:
    """A measured value beside a reference of the same run. ``goal``: what the ratio is to be, with the sign before."""

    measured: str
    value: float
    reference: str
    reference_value: float
    goal: str = ""

    @property
    def ratio(self) -> float:
        return self.value / self.reference_value


def table(figures: Iterable[Comparison]) -> str:
    """As Markdown; with a column of goals where there are any."""
    found = list(figures)
    goals = any(figure.goal for figure in found)
    head = ["measured", "value", "reference of the same run", "value", "ratio", *(["goal"] if goals else [])]
    lines = [_row(head), "|" + "---|" * len(head)]
    for figure in found:
        cells = [figure.measured, f"{figure.value:g}", figure.reference, f"{figure.reference_value:g}"]
        lines.append(_row([*cells, f"{figure.ratio:.2f}", *([figure.goal] if goals else [])]))
    return "\n".join(lines)


def save(figures: Iterable[Comparison], file: Path) -> None:
    """The table as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "ratio": round(figure.ratio, 3)} for figure in figures]
    file.write_text(json.dumps({"figures": rows}, indent=1, ensure_ascii=False), encoding="utf-8")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# -- drawing


@dataclass(frozen=True)
class Point:
    """What a load gave: results a second, and the 95th percentile of the seconds of one."""

    load: float
    rate: float
    p95: float


def drawing(points: Sequence[Point], axis: str, percentile: str) -> str:
    """An SVG with both curves, each to its own scale, the load on a logarithmic axis.

    ``axis`` names the load, ``percentile`` the curve that is not pages/s.
    """
    loads = [point.load for point in points]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">']
    for label, colour, x, values in (
        ("pages/s", "#06c", EDGE, [point.rate for point in points]),
        (percentile, "#c40", WIDTH - 160, [point.p95 for point in points]),
    ):
        places = [(_x(load, loads), HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * value / max(values))
                  for load, value in zip(loads, values, strict=True)]  # fmt: skip
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (at, y), value in zip(places, values, strict=True):
            parts.append(f'<text x="{at:.0f}" y="{y - 6:.0f}" font-size="11" fill="{colour}">{value:g}</text>')
        parts.append(f'<text x="{x}" y="20" fill="{colour}">{label}</text>')
    parts += [f'<text x="{_x(load, loads):.0f}" y="{HEIGHT - 20}" font-size="11">{load:g}</text>' for load in loads]
    return "\n".join([*parts, f'<text x="{WIDTH / 2 - 60}" y="{HEIGHT - 4}" font-size="12">{axis}</text></svg>'])


def _x(load: float, loads: Sequence[float]) -> float:
    span = max(1.0, math.log2(max(loads)) - math.log2(min(loads)))
    return EDGE + (WIDTH - 2 * EDGE) * (math.log2(load) - math.log2(min(loads))) / span
