"""What a page's lines become: titles by their size."""

from __future__ import annotations

from PIL import Image

from tests.unit.worker.engines.cpu.making import line, stack
from worker.engines.cpu.lines import Line
from worker.engines.cpu.structure import Scene, compose

TEXT = stack([f"Line {word} of the text goes on, and on." for word in ("one", "two", "three", "four")], 100, 200)


def markdown_of(lines: list[Line]) -> str:
    return compose(Scene(1, Image.new("RGB", (800, 600), "white"), lines, [])).markdown


def test_a_large_line_is_a_title() -> None:
    assert markdown_of([line("Summary", 100, 120, height=42), *TEXT]).startswith("# Summary\n\n")


def test_a_line_whose_box_reaches_over_its_neighbour_is_none() -> None:
    tall, neighbour = line("Summary", 100, 120, height=42), line("Oil filled up", 100, 143, height=18)
    assert "#" not in markdown_of([tall, neighbour, *TEXT])
