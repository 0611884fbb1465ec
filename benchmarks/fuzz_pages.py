"""Pages of lines that no printer makes, put in order by the CPU engine: nothing raises, hangs or loses a letter.

    python -m benchmarks.fuzz_pages [--minutes 5] [--seed 1]

Columns, tables, lists, headings and scattered pieces with ordinary and hostile text, damaged: moved, overlapping,
without size, huge, off the page; with layout hints to match or at random. Every letter and digit of the lines must be
in the Markdown, in its plain text and in its HTML, and the HTML must hold no script. A finding is printed with its
seed; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from html import unescape
from time import monotonic, thread_time

from PIL import Image

from benchmarks.fuzz_outputs import SHARDS
from gateway.formats.html import fragment
from gateway.formats.text import plain
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.lines import Line
from worker.engines.cpu.structure import Scene, compose

SECONDS = 10.0  # of the processor
SIZE = (1240, 1754)
PAGE = Image.new("RGB", SIZE, "white")
LABELS = ("text", "title", "figure", "figure_caption", "table", "table_caption", "header", "footer", "reference")
WORDS = """
the keeper lit lamp at sunset and wrote it down harbour- Committee 12 1,250.00 2024-11-28 A4 - – • [ ] [x] 1. 2) (a) 3.1
e.g. [1] # * _ ` | $ $5 < <b> & &amp; \\ ~~ ![x](y) [a](javascript:x) <script>alert(1)</script> http://a.b 書記 は 灯台
שלום ספרייה السلام да нет Ünïcödé naïve x² ½ def f(): return { } ; // page 3 of 9 --- === +++ 1/2 onerror=x <img src=x
onerror=alert(1)> </td> <!-- --> ```
""".split()  # noqa: SIM905
UNSAFE = re.compile(
    r"<\s*(?:script|iframe|object|embed|svg|link|base|form)\b|\son\w+=|(?:href|src)=.\s*javascript:", re.I
)
MARKS = re.compile(r"^ *((?:(?:[*+-]|\d+[.)])(?: +|$))+)", re.M)  # of lists, in lists


class PageFinding(Exception):
    pass


def text(dice: random.Random, most: int = 14) -> str:
    if dice.random() < 0.05:
        return "".join(dice.choices(SHARDS, k=dice.randint(1, 8))).replace("\n", " ")
    return " ".join(dice.choices(WORDS, k=dice.randint(1, most)))


def made(dice: random.Random, x: float, y: float, height: float, said: str) -> Line:
    x1, y1 = x + max(1.0, 0.5 * height * len(said) * dice.uniform(0.7, 1.3)), y + height
    return Line(x, y, x1, y1, said, (x, y, x1, y1), score=dice.uniform(0.4, 1), turned=dice.random() < 0.01)


def stack(dice: random.Random) -> list[Line]:
    """Lines under each other: a column, a list, a heading."""
    x, y, height = dice.uniform(0, 900), dice.uniform(0, 1600), dice.choice((8, 14, 20, 20, 20, 48))
    step, indent = height * dice.uniform(0.9, 2.5), dice.choice((0, 0, 20, 60))
    return [
        made(dice, x + dice.choice((0, 0, indent)), y + i * step, height, text(dice))
        for i in range(dice.choice((1, 3, 8, 30)))
    ]


def cells(dice: random.Random) -> list[Line]:
    x, y, height = dice.uniform(0, 400), dice.uniform(0, 1400), 20.0
    wide, columns = dice.uniform(60, 300), dice.randint(2, 7)
    return [
        made(dice, x + column * wide, y + row * 26, height, text(dice, 2))
        for row in range(dice.randint(2, 12))
        for column in range(columns)
        if dice.random() < 0.9
    ]


def damaged(dice: random.Random, line: Line) -> Line:
    x0, y0, x1, y1 = line.x0, line.y0, line.x1, line.y1
    match dice.randrange(5):
        case 0:
            x0, x1 = x0 + dice.uniform(-300, 300), x1 + dice.uniform(-300, 300)
        case 1:
            y0, y1 = y0 + dice.uniform(-60, 60), y1 + dice.uniform(-60, 60)
        case 2:
            x1, y1 = x0, y0
        case 3:
            x0, y0, x1, y1 = -50.0, -50.0, SIZE[0] + 50.0, dice.uniform(0, SIZE[1] + 50.0)
        case _:
            x0, x1 = SIZE[0] - x1, SIZE[0] - x0
    x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    return Line(x0, y0, x1, y1, line.text, (x0, y0, x1, y1), score=line.score, turned=line.turned)


def hint(dice: random.Random, lines: list[Line]) -> Hint:
    around = dice.choice(lines).box if lines and dice.random() < 0.8 else (0.0, 0.0, *map(float, SIZE))
    x0, y0, x1, y1 = (value + dice.uniform(-40, 40) for value in around)
    if dice.random() < 0.5:
        x1, y1 = x0 + dice.uniform(0, 900), y0 + dice.uniform(0, 900)
    return Hint(dice.choice(LABELS), dice.uniform(0.3, 1), min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def scene(seed: int) -> Scene:
    dice = random.Random(seed)
    groups = [dice.choice((stack, stack, cells))(dice) for _ in range(dice.choice((1, 2, 4, 9)))]
    lines = [line for group in groups for line in group]
    lines = [damaged(dice, line) if dice.random() < dice.choice((0, 0.05, 0.5)) else line for line in lines]
    hints = [hint(dice, lines) for _ in range(dice.choice((0, 1, 3, 12)))]
    dice.shuffle(lines)
    return Scene(1, PAGE, [line for line in lines if line.text.strip()], hints)


def letters(said: str) -> Counter[str]:
    return Counter(sign for sign in said if sign.isalnum())


def shown_by(html: str) -> str:
    """What people see of it, without the numbers of lists: those of pictures their words, of boxes to tick the tick."""
    html = re.sub(r'<img [^>]*?alt="([^"]*)"[^>]*>', r"\1", html)
    return unescape(re.sub(r"<[^>]*>", "", html))


def check(page: Scene) -> None:
    """Raises ``PageFinding``, or whatever the code under test raises."""
    if not page.lines:
        return
    started = thread_time()
    read = compose(page)
    html = fragment(read.markdown)
    wanted = letters("".join(line.text for line in page.lines))
    shown = shown_by(html) + "".join(MARKS.findall(read.markdown))
    for name, said in (("Markdown", read.markdown), ("text", plain(read.markdown)), ("HTML", shown)):
        if lost := wanted - letters(said):
            raise PageFinding(f"the {name} is without {dict(lost)}")
    if found := UNSAFE.search(" ".join(re.findall(r"<[^>]*>", re.sub(r'alt="[^"]*"', "", html)))):
        raise PageFinding(f"the HTML holds {found[0]!r}")
    for block in read.blocks:
        x0, y0, x1, y1 = block.bbox
        if not (0 <= x0 < x1 <= SIZE[0] and 0 <= y0 < y1 <= SIZE[1]):
            raise PageFinding(f"a box off the page: {block.bbox}")
    if (took := thread_time() - started) > SECONDS:
        raise PageFinding(f"it took {took:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    until, seed, findings = monotonic() + 60 * options.minutes, options.seed, 0
    while monotonic() < until:
        try:
            check(scene(seed))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            findings += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        seed += 1
    print(f"{seed - options.seed} pages, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
