"""The measurements' own report: what it prints, saves and draws. What they measure is not tested here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.report import Comparison, Point, drawing, save, table

FIGURES = [Comparison("submission, ms", 3.0, "bare", 2.0, "<= 1.5"), Comparison("jobs/s", 30, "idle", 40)]


def test_each_figure_stands_beside_its_reference_and_its_ratio() -> None:
    head, _, first, second = table(FIGURES).splitlines()
    assert head.split(" | ")[-1] == "goal |"
    assert first == "| submission, ms | 3 | bare | 2 | 1.50 | <= 1.5 |"
    assert second == "| jobs/s | 30 | idle | 40 | 0.75 |  |"
    assert "goal" not in table(FIGURES[1:])


def test_the_table_is_saved_as_json(tmp_path: Path) -> None:
    save(FIGURES, tmp_path / "build" / "found.json")
    first, second = json.loads((tmp_path / "build" / "found.json").read_text())["figures"]
    assert (first["ratio"], first["goal"], second["ratio"]) == (1.5, "<= 1.5", 0.75)


def test_the_drawing_has_both_curves_over_the_loads() -> None:
    drawn = drawing([Point(1, 1, 0.5), Point(12, 10, 1), Point(16, 12, 4)], "pages/s offered", "p95, s")
    root = ET.fromstring(drawn)  # noqa: S314  # made in the line above
    lines = [line.attrib["points"].split() for line in root if line.tag.endswith("polyline")]
    rates, p95 = ([tuple(map(float, point.split(","))) for point in line] for line in lines)
    assert [x for x, _ in rates] == [x for x, _ in p95] == sorted({x for x, _ in rates})
    assert rates[-1][1] == p95[-1][1] < rates[0][1], "the largest value of each curve is at the same height"
    assert {"1", "12", "16", "pages/s offered", "p95, s"} <= set(root.itertext())
