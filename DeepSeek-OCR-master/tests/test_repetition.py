import random

import pytest

from deepseek_ocr.repetition import NGRAM, RepetitionGuard


def noticed_after(guard, ids, piece=7):
    """Tokens of ``ids`` that were fed when the guard spoke, else None."""
    for end in range(piece, len(ids) + piece, piece):
        if guard.feed(ids[end - piece : end]):
            return end
    return None


@pytest.mark.parametrize("period", [1, 2, 31, 32, 33, 61, 100, 400, 768])
def test_a_loop_is_noticed_a_few_rounds_in(period):
    rng = random.Random(period)
    start = [rng.randrange(129_280) for _ in range(300)]
    loop = [rng.randrange(129_280) for _ in range(period)]
    end = noticed_after(RepetitionGuard(), start + loop * (8000 // period))
    assert end is not None
    assert end - 300 <= max(4 * period, 256) + 64


def test_text_that_varies_is_left_alone():
    rng = random.Random(5)
    assert noticed_after(RepetitionGuard(), [rng.randrange(50) for _ in range(8000)]) is None


def test_three_equal_paragraphs_are_no_loop():
    rng = random.Random(6)
    paragraph = [rng.randrange(129_280) for _ in range(500)]
    assert noticed_after(RepetitionGuard(), paragraph * 3) is None


def test_empty_table_cells_may_go_on_for_longer():
    cells = [128821, 128822] * 500
    assert noticed_after(RepetitionGuard(patient=frozenset(cells)), cells) is None
    assert noticed_after(RepetitionGuard(), cells) is not None
    assert noticed_after(RepetitionGuard(patient=frozenset(cells)), cells * 4) is not None


def test_the_rule_sends_its_whitelist_as_a_list():
    assert NGRAM.extra_args(iter((7, 8))) == {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [7, 8]}
