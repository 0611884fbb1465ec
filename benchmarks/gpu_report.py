"""One table of what ``make bench-gpu`` measured, and its JSON; each figure beside its reference of the same run.

    python3 -m benchmarks.gpu_report FOLDER     (holds *.jsonl as the GPU benchmarks print them)

Writes ``gpu.json`` and ``gpu.svg`` (pages a second and the 95th percentile of a page's time against pages in flight)
into the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.gpu_engine import said

Case = dict[str, Any]


def collect(folder: Path) -> dict[str, Case]:
    """All cases of the folder's files, by their names."""
    found: dict[str, Case] = {}
    for file in sorted(folder.glob("*.jsonl")):
        found.update(said(file.read_text(encoding="utf-8")))
    return found


def ratios(cases: dict[str, Case]) -> list[tuple[str, float, str, float]]:
    """What is compared: name, value, reference, reference's value."""
    found = []
    rates = {name: case["pages_per_s"] for name, case in cases.items() if "pages_per_s" in case}
    stock = {name: rate for name, rate in rates.items() if name.startswith("stock") and name.endswith("in flight")}
    for name, rate in rates.items():
        if name.startswith(("ours:", "queue:")):
            found += [(name, rate, reference, value) for reference, value in stock.items()]
        if name.startswith("queue:") and (inside := rates.get(name.replace("queue", "ours"))):
            found.append((name, rate, name.replace("queue", "ours"), inside))
        if name.startswith("steady:") and name != "steady: all" and "steady: all" in rates:
            found.append((name, rate, "steady: all", rates["steady: all"]))
    for name, case in cases.items():
        if name.endswith(", ours") and (own := cases.get(name.replace(", ours", ", own"))):
            found.append((f"{name} (ms a page)", case["ms_a_page"], "own", own["ms_a_page"]))
    return found


def table(cases: dict[str, Case]) -> str:
    lines = ["| measured | value | reference of the same run | value | ratio |", "|---|---|---|---|---|"]
    for name, value, reference, other in ratios(cases):
        lines.append(f"| {name} | {value:g} | {reference} | {other:g} | {value / other:.2f} |")
    return "\n".join(lines)


# -- drawing

WIDTH, HEIGHT, EDGE = 640, 320, 50


def curve(cases: dict[str, Case]) -> list[tuple[int, float, float]]:
    """Pages in flight, pages a second, 95th percentile of a page's seconds; of our engine in process."""
    found = []
    for name, case in cases.items():
        if name.startswith("ours:") and name.endswith("in flight") and "page_p95" in case:
            found.append((int(name.split()[1]), case["pages_per_s"], case["page_p95"]))
    return sorted(found)


def drawing(points: list[tuple[int, float, float]]) -> str:
    """An SVG with both curves, each to its own scale, the load on a logarithmic axis."""
    loads = [load for load, _, _ in points]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">']
    for label, colour, values in (
        ("pages/s", "#06c", [rate for _, rate, _ in points]),
        ("p95 of a page, s", "#c40", [p95 for _, _, p95 in points]),
    ):
        places = [(_x(load, loads), HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * value / max(values))
                  for load, value in zip(loads, values, strict=True)]  # fmt: skip
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), value in zip(places, values, strict=True):
            parts.append(f'<text x="{x:.0f}" y="{y - 6:.0f}" font-size="11" fill="{colour}">{value:g}</text>')
        parts.append(f'<text x="{EDGE if colour == "#06c" else WIDTH - 160}" y="20" fill="{colour}">{label}</text>')
    parts += [f'<text x="{_x(load, loads):.0f}" y="{HEIGHT - 20}" font-size="11">{load}</text>' for load in loads]
    return "\n".join(
        [*parts, f'<text x="{WIDTH / 2 - 60}" y="{HEIGHT - 4}" font-size="12">pages in flight</text></svg>']
    )


def _x(load: int, loads: list[int]) -> float:
    span = max(1, max(loads).bit_length() - min(loads).bit_length())
    return EDGE + (WIDTH - 2 * EDGE) * (load.bit_length() - min(loads).bit_length()) / span


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    cases = collect(folder)
    compared = [
        dict(zip(("measured", "value", "reference", "reference_value"), row, strict=True)) for row in ratios(cases)
    ]
    (folder / "gpu.json").write_text(json.dumps({"cases": cases, "compared": compared}, indent=1), encoding="utf-8")
    if points := curve(cases):
        (folder / "gpu.svg").write_text(drawing(points), encoding="utf-8")
    print(table(cases))


if __name__ == "__main__":
    main()
