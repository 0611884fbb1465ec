"""What was seen against what was read: the check at the end of a page."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from shared.contract.document import Reason
from worker.engines.cpu.completeness import Seen, is_tiny, loss, seen, shortfall, unseen_writing
from worker.engines.cpu.detection import Detected
from worker.engines.cpu.recognition import Text

GOOD = Text("The harbour committee met on Monday", 0.99)


def piece(text: str, score: float, length: float = 16.0, height: float = 30.0) -> Seen:
    read = Text(text, score)
    return Seen(length, height, read, loss(length, read, 0.4))


def page(*odd: Seen, good: int = 20, height: float = 30.0) -> list[Seen]:
    return [*[Seen(16.0, height, GOOD, 0.0)] * good, *odd]


def test_a_page_that_was_read_lacks_nothing() -> None:
    assert shortfall(page(), 0, 0.0) is None


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (piece("   ,       .", 0.93), Reason.UNSUPPORTED_SCRIPT),  # Russian: the letters are dropped with confidence
        (
            piece(". 4711  12  2024    1 250,00 .", 0.93, length=18.0),
            Reason.UNSUPPORTED_SCRIPT,
        ),  # the same, with numbers
        (piece("ιλι τ λιανι νιε ξν", 0.80), Reason.UNSUPPORTED_SCRIPT),  # Greek
        (piece("Ο φλακας ανβει τη λμπα", 0.97), Reason.UNSUPPORTED_SCRIPT),  # Greek, all but its accents
        (piece("", 0.0), Reason.UNREADABLE),  # Korean, Hindi
        (piece("annneucy nulnneinsuuvpie", 0.5), Reason.LOW_CONFIDENCE),  # Thai, a hand
    ],
)
def test_one_line_that_is_lost_is_told(odd: Seen, reason: Reason) -> None:
    found = shortfall(page(*[odd] * 3), 0, 0.0)
    assert found is not None
    assert found.reason == reason
    assert found.missing > 0.03
    assert shortfall([odd], 0, 0.0) is not None


def test_a_single_line_among_many_is_told_too() -> None:
    found = shortfall(page(piece("  .", 0.93), good=200), 0, 0.0)
    assert found is not None
    assert 0 < found.missing < 0.01


def test_a_tick_that_was_misread_is_no_loss() -> None:
    assert shortfall(page(piece("", 0.0, length=1.0)), 0, 0.0) is None


def test_vietnamese_is_told_by_its_own_letters_and_words_without_vowels() -> None:
    lines = [
        piece("Hi đồng cng quyt đnh sa cha câu tàu phía", 0.97),
        piece("bc trưc mùa đông. Tin sa cha đưc ly tù", 0.98),
    ]
    found = shortfall(lines, 0, 0.0)
    assert found is not None
    assert (found.reason, found.missing) == (Reason.UNSUPPORTED_SCRIPT, 0.16)
    polish = [piece("czterdzieści miejsc oraz katalog kartkowy; żółta łódź", 0.98)]
    assert shortfall(polish, 0, 0.0) is None


def test_letters_of_few_pixels_are_told() -> None:
    found = shortfall(page(height=9.0), 0, 0.0)
    assert found is not None
    assert found.reason == Reason.TOO_SMALL


def test_pieces_beyond_the_limit_are_told() -> None:
    found = shortfall(page(), 20, 0.0)
    assert found is not None
    assert (found.reason, found.missing) == (Reason.DETECTOR_LIMIT, 0.5)


def test_every_piece_is_measured_along_its_longer_side() -> None:
    quads = np.asarray([[[0, 0], [300, 0], [300, 30], [0, 30]], [[0, 0], [30, 0], [30, 300], [0, 300]]], np.float32)
    found = seen(Detected(quads), [GOOD, GOOD], 0.4)
    assert [(one.length, one.height) for one in found] == [(10.0, 30.0), (10.0, 30.0)]


def written() -> Image.Image:
    image = Image.new("RGB", (1000, 600), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for i in range(6):
        pen.text((60, 60 + 80 * i), "the lamp was lit and the log was kept by the keeper", fill="black", font=font)
    return image


def boxes(*rows: int) -> Detected:
    quads = [[[50, y], [760, y], [760, y + 45], [50, y + 45]] for y in (50 + 80 * i for i in rows)]
    return Detected(np.asarray(quads, np.float32).reshape(-1, 4, 2))


def test_writing_that_no_piece_covers_is_seen() -> None:
    pixels = np.asarray(written())
    assert unseen_writing(pixels, boxes(*range(6)), []) == 0
    assert unseen_writing(pixels, boxes(0, 1, 2, 4, 5), []) > 10


def test_rules_and_hatching_are_no_writing() -> None:
    image = Image.new("RGB", (1000, 600), "white")
    pen = ImageDraw.Draw(image)
    for i in range(40):
        pen.rectangle((60 + 20 * i, 100, 68 + 20 * i, 120), fill="black")
        pen.line((60, 200 + 8 * i, 900, 200 + 8 * i), fill="black")
    assert unseen_writing(np.asarray(image), boxes(), []) == 0


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
def test_writing_on_end_that_no_piece_covers_is_seen(turn: Image.Transpose) -> None:
    assert unseen_writing(np.asarray(written().transpose(turn)), boxes(), []) > 10


def test_faint_writing_is_seen_on_even_paper_and_grain_is_not() -> None:
    faint = Image.blend(Image.new("RGB", written().size, "white"), written(), 0.06)
    assert unseen_writing(np.asarray(faint), boxes(), []) > 10
    grain = np.random.default_rng(3).normal(240, 5, (600, 1000, 1)).clip(0, 255).repeat(3, axis=2)
    assert unseen_writing(grain.astype(np.uint8), boxes(), []) == 0


def small_print(size: int, colour: str = "black") -> Image.Image:
    image, font = Image.new("RGB", (1000, 600), "white"), ImageFont.load_default(size)
    ImageDraw.Draw(image).text((60, 300), "the lamp was lit and the log was kept by the keeper", fill=colour, font=font)
    return image


def test_writing_of_eight_pixels_is_seen() -> None:
    assert unseen_writing(np.asarray(small_print(8)), boxes(), []) > 10


def test_what_a_jpeg_leaves_beside_writing_is_not() -> None:
    buffer = BytesIO()
    written().save(buffer, "JPEG", quality=25)
    assert unseen_writing(np.asarray(Image.open(buffer)), boxes(*range(6)), []) == 0


@pytest.mark.parametrize(("size", "tiny"), [(8, True), (12, False)])
def test_tiny_letters_are_told_by_their_ink_and_not_by_their_box(size: int, tiny: bool) -> None:
    line = np.asarray(small_print(size))[296:316, 50:600]
    assert is_tiny(line) == tiny


def test_a_line_of_tiny_letters_counts_only_where_it_is_read_with_certainty() -> None:
    sure, guess = (Seen(20.0, 17.0, Text("the deposit", score, is_tiny=True), 0.0) for score in (0.995, 0.98))
    rest = [Seen(20.0, 40.0, Text("the lamp was lit", 1.0), 0.0)] * 9
    assert shortfall([*rest, sure], 0, 0.0) is None
    lost = shortfall([*rest, guess], 0, 0.0)
    assert lost is not None
    assert (lost.reason, lost.missing > 0) == (Reason.TOO_SMALL, True)
