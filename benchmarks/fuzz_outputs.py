"""Damaged outputs of DeepSeek-OCR against reader and forms: nothing raises or takes long, and cuts do not matter.

    python -m benchmarks.fuzz_outputs [--minutes 5] [--seed 1] [--folder DIR]

Starts from the real outputs in ``../shared/deepseek-outputs`` where they lie beside the checkout, and from pieces of
markup. A finding is printed with the output that shows it; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic, thread_time

from benchmarks.deepseek_outputs import FOLDER
from deepseek_ocr.counting import CountingGuard
from deepseek_ocr.labels import LABELS
from deepseek_ocr.page import PageReader
from deepseek_ocr.parser import Marker, parse
from deepseek_ocr.style import MarkdownStyle
from deepseek_ocr.tokens import MARKUP, TABLE
from gateway.formats.html import fragment
from gateway.formats.text import plain

SECONDS = 2.0  # of the processor
LONGEST = 40_000
SIZE = (1240, 1754)
STYLES = (MarkdownStyle(), MarkdownStyle(math="brackets", table="html", clean=False))
SHARDS = (
    *MARKUP, *TABLE, *sorted(LABELS), "<table>", "</table>", '<td rowspan="3" colspan="999">', "\\(", "\\)", "\\[",
    "\\]", "\\begin{a}", "\\end{a}", "`", "```", "|", "|---|", "*", "**", "_", "$", "$$", "# ", "- ", "[1] ", "[2] ",
    "<center>", "</center>", "<br>", "<sup>", "</", "<!--", "&lt;", "\\", "]: ", "](", "![", "===", "---", "\n", "\n\n",
    "  \n", " ", "\ufdd0", "\ufdd1", "\x00", "\u2028", "0 0 0 ", "[[1, 2, 3, 4]]", "[[", "]]", "\U0001f600", "x- y",
    "\\|", "\t", "    ",
)  # fmt: skip


class FuzzFinding(Exception):
    pass


def damaged(rng: random.Random, text: str, others: list[str]) -> str:
    for _ in range(rng.randint(1, 12)):
        a, b = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        other = rng.choice(others)
        start = rng.randint(0, len(other))
        text = rng.choice(
            (
                lambda a=a, b=b, text=text: text[:a] + text[b:],
                lambda a=a, b=b, text=text: text[:a] + text[a:b] * rng.randint(2, 4) + text[b:],
                lambda a=a, text=text: text[:a] + rng.choice(SHARDS) * rng.choice((1, 1, 1, 2, 50)) + text[a:],
                lambda a=a, text=text: text[:a] + "".join(rng.choices(SHARDS, k=rng.randint(1, 30))) + text[a:],
                lambda a=a, text=text, other=other, start=start: text[:a] + other[start : start + 500] + text[a:],
                lambda a=a, text=text: text[:a] + chr(rng.choice((rng.randint(1, 0x2FFF), 0x1F600))) + text[a:],
            )
        )()[:LONGEST]
    return text


def pieces_of(rng: random.Random, output: str) -> Iterator[str]:
    """Pieces all of one length, or each of its own."""
    at, length = 0, rng.randint(1, 40)
    own = rng.random() < 0.5
    while at < len(output):
        yield output[at : at + length]
        at += length
        length = rng.randint(1, 40) if own else length


def read(output: Iterable[str], style: MarkdownStyle, *, kinds: bool) -> tuple[PageReader, str]:
    reader, guard = PageReader(*SIZE, style=style, kinds=kinds), CountingGuard()
    streamed = []
    for piece in output:
        guard.feed(piece)
        streamed.append(reader.feed(piece))
    return reader, "".join((*streamed, reader.finish()))


def check(rng: random.Random, output: str) -> None:
    """Raises ``FuzzFinding``, or whatever the code under test raises."""
    style, kinds = rng.choice(STYLES), rng.random() < 0.8
    started = thread_time()
    whole, streamed = read([output], style, kinds=kinds)
    pieces, cut = read(pieces_of(rng, output), style, kinds=kinds)
    if not streamed == whole.markdown == cut == pieces.markdown or whole.blocks != pieces.blocks:
        raise FuzzFinding("another cutting gives another page")
    for block in whole.blocks:
        x1, y1, x2, y2 = block.bbox
        if not (0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]):
            raise FuzzFinding(f"a box off the page: {block.bbox}")
    located = any(isinstance(event, Marker) and event.is_text for event in parse(output, kinds=kinds))
    joined = "\n\n".join(block.text for block in whole.blocks if block.text)
    if whole.blocks and not located and whole.markdown != joined:
        raise FuzzFinding("the blocks are not the Markdown")
    plain(whole.markdown)
    fragment(whole.markdown)
    if (took := thread_time() - started) > SECONDS:
        raise FuzzFinding(f"it took {took:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    rng, until, tried = random.Random(options.seed), monotonic() + 60 * options.minutes, 0
    real = [path.read_text(encoding="utf-8") for path in sorted(options.folder.glob("*.raw.txt"))]
    others = [*real, "".join(SHARDS)]
    while monotonic() < until:
        start = rng.choice(others) if rng.random() < 0.7 else "".join(rng.choices(SHARDS, k=rng.randint(1, 200)))
        output = damaged(rng, start, others)
        tried += 1
        try:
            check(rng, output)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            print(f"output {tried} of seed {options.seed}: {type(error).__name__}: {error}\n{output!r}")
            return 1
    print(f"{tried} outputs in {options.minutes:g} minutes, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
