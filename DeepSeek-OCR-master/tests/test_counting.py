import random

import pytest

from deepseek_ocr.counting import CountingGuard
from deepseek_ocr.parser import marker


def noticed_after(text, piece=5):
    """Characters of ``text`` that were fed when the guard spoke, else None."""
    guard = CountingGuard()
    for at in range(0, len(text), piece):
        if guard.feed(text[at : at + piece]):
            return at + piece
    return None


def any_number(seed, below):
    return random.Random(seed).randrange(below)


def page(start=1500):
    rng = random.Random(start)
    words = ["Haus", "Baum", "12", "Rechnung", "und", "2024", "der", "Preis", "7,50", "EUR"]
    return " ".join(rng.choices(words, k=start // 5))


@pytest.mark.parametrize(
    "loop",
    [
        "".join(f"Col{i}|" for i in range(2000)),
        "".join(f"0 0 0 0 {i} " for i in range(1500)),
        "".join(f"{'1 ' * (8 + (i % 7 == 0))}{i} " for i in range(1000)),
        "".join(f"{i} " * 9 for i in range(500)),
        "".join(f"{i * 1000} " for i in range(2000)),
        "".join(f"**Figure {i}: Comparison of systems**\n\n" for i in range(400)),
        "".join(marker("text", ((800, 20 * i, 870, 20 * i + 18),)) + "\n \n\n" for i in range(200)),
        "".join(f"<tr><td>{i}</td><td>Item of the list</td></tr>" for i in range(400)),
        "".join(f"and {2 * i} of {900 - i} in year {1990 + i}, " for i in range(400)),
    ],
)
def test_an_output_that_counts_is_noticed(loop):
    start = page()
    end = noticed_after(start + loop)
    assert end is not None
    assert len(start) < end <= len(start) + 4000


@pytest.mark.parametrize(
    "text",
    [
        page(40_000),
        # A form of numbered, empty rows.
        "<table>" + "".join(f"<tr><td>{i}</td><td></td><td></td></tr>" for i in range(1, 61)) + "</table>",
        # Numbers without an order: an account, a timetable, measured values.
        "".join(f"<tr><td>{i}</td><td>{any_number(i, 997)}</td><td>{any_number(i, 89)}</td></tr>" for i in range(300)),
        " ".join(str(any_number(i, 10_007)) for i in range(4000)),
        "\n".join(f"{i % 24}:{any_number(i, 60):02} {any_number(i, 40)} km" for i in range(600)),
        # A contents list, references, a year's calendar.
        "".join(f"{i}. {page(60 + i)} {'.' * 20} {3 * i}\n" for i in range(1, 120)),
        "".join(f"[{i}] {page(300 + i)}, 20{i:02}.\n" for i in range(1, 60)),
        "\n".join(" ".join(str(day) for day in range(1, 29 + month % 4)) for month in range(12)),
        # The same row again and again is the other guard's.
        "<tr><td>12</td><td></td></tr>" * 500,
    ],
)
def test_texts_with_many_numbers_are_left_alone(text):
    assert noticed_after(text) is None
