"""Outputs as the model might write them, and the same outputs damaged; seeded."""

from __future__ import annotations

import random
from dataclasses import dataclass

from deepseek_ocr.parser import marker

LABELS = ("title", "sub_title", "text", "table", "equation", "image_caption", "header", "page_number")
WORDS = (
    "Rechnung",
    "4711",
    "発票",
    "😀",
    "Süß",
    "a < b",
    "f(x)",
    "\\(x^2\\)",
    "[[1, 2]]",
    "<b>",
    "det",
    "|",
    "# ",
    "**w**",
)
SHARDS = (
    "<|ref|>",
    "<|/ref|>",
    "<|det|>",
    "<|/det|>",
    "<|",
    "|>",
    "<",
    "[[",
    "]]",
    ",",
    "\n\n\n",
    "<image>",
    "\\coloneqq",
    "",
)


@dataclass(frozen=True)
class MadeBlock:
    label: str
    box: tuple[int, int, int, int]
    text: str


def blocks(rng: random.Random) -> list[MadeBlock]:
    return [MadeBlock(rng.choice(LABELS), _box(rng), _content(rng)) for _ in range(rng.randint(1, 8))]


def raw(found: list[MadeBlock]) -> str:
    return "\n\n".join(f"{marker(b.label, (b.box,))}\n{b.text}" for b in found) + "\n"


def cut(rng: random.Random, text: str) -> list[str]:
    """``text`` in pieces of 0 to 9 characters."""
    pieces = []
    while text:
        size = rng.randint(0, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def damaged(rng: random.Random, text: str) -> str:
    """``text`` with up to six cuts, doublings, insertions and shuffles."""
    for _ in range(rng.randint(1, 6)):
        a, b = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        text = rng.choice(
            (
                text[:a] + text[b:],
                text[:a] + text[a:b] * 2 + text[b:] if b - a < 200 else text[:b],
                text[:a] + rng.choice(SHARDS) + text[a:],
                text[:a] + text[a:b][::-1] + text[b:],
                text[:a] + chr(rng.randint(32, 0x2FFF)) + text[a:],
            )
        )
    return text


def _box(rng: random.Random) -> tuple[int, int, int, int]:
    x1, y1 = rng.randint(0, 900), rng.randint(0, 900)
    return (x1, y1, rng.randint(x1 + 10, 999), rng.randint(y1 + 10, 999))


def _content(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 30)))
