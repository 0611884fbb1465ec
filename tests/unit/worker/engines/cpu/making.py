"""Lines made by hand, as the detector would have found them."""

from __future__ import annotations

from worker.engines.cpu.lines import Line, Row

HEIGHT = 20.0
LETTER = 10.0


def line(text: str, x: float, y: float, *, height: float = HEIGHT, width: float | None = None) -> Line:
    """A line of text whose letters are ten pixels wide, with its top left corner at x, y."""
    x1, y1 = x + (width or LETTER * len(text)), y + height
    return Line(x, y, x1, y1, text, (x, y, x1, y1))


def row(text: str, x: float, y: float) -> Row:
    return Row((line(text, x, y),))


def stack(texts: list[str], x: float, y: float, step: float = 26.0) -> list[Line]:
    """Lines under each other."""
    return [line(text, x, y + step * i) for i, text in enumerate(texts)]


def rows_of(texts: list[str], x: float = 100, y: float = 100, step: float = 26.0) -> list[Row]:
    return [Row((made,)) for made in stack(texts, x, y, step)]
