"""What a page's lines become: titles by their size."""

from __future__ import annotations

from PIL import Image

from gateway.formats.html import fragment
from tests.unit.worker.engines.cpu.making import line, stack
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.lines import Line
from worker.engines.cpu.structure import Scene, compose

TEXT = stack([f"Line {word} of the text goes on, and on." for word in ("one", "two", "three", "four")], 100, 200)


def markdown_of(lines: list[Line], *hints: Hint) -> str:
    return compose(Scene(1, Image.new("RGB", (800, 600), "white"), lines, list(hints))).markdown


def test_a_large_line_is_a_title() -> None:
    assert markdown_of([line("Summary", 100, 120, height=42), *TEXT]).startswith("# Summary\n\n")


def test_a_line_whose_box_reaches_over_its_neighbour_is_none() -> None:
    tall, neighbour = line("Summary", 100, 120, height=42), line("Oil filled up", 100, 143, height=18)
    assert "#" not in markdown_of([tall, neighbour, *TEXT])


def test_a_table_without_any_writing_is_none() -> None:
    assert markdown_of(TEXT, Hint("table", 0.9, 0, 500, 800, 600)) == markdown_of(TEXT)


def test_brackets_printed_in_a_picture_are_no_link_and_no_formula() -> None:
    said = r"[a](javascript:x) \[x\] ](https://tracker.example/p.gif)"
    markdown = markdown_of([line(said, 400, 450, width=60), *TEXT], Hint("figure", 0.9, 300, 400, 780, 590))
    shown = fragment(markdown)
    assert f'<img src="images/1_0.jpg" alt="{said}">' in shown
    assert "<a" not in shown
