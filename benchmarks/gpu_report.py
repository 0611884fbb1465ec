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
from benchmarks.report import Comparison, Point, drawing, table

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


def curve(cases: dict[str, Case]) -> list[Point]:
    """By pages in flight, of our engine in process."""
    found = []
    for name, case in cases.items():
        if name.startswith("ours:") and name.endswith("in flight") and "page_p95" in case:
            found.append(Point(int(name.split()[1]), case["pages_per_s"], case["page_p95"]))
    return sorted(found, key=lambda point: point.load)


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
        (folder / "gpu.svg").write_text(drawing(points, "pages in flight", "p95 of a page, s"), encoding="utf-8")
    print(table(Comparison(*row) for row in ratios(cases)))


if __name__ == "__main__":
    main()
