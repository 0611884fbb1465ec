from deepseek_ocr.prompts import DOCUMENT, FREE_OCR
from deepseek_ocr.repetition import NGRAM, STRONGER
from worker.engines.deepseek_ocr.retries import Attempt, after, first
from worker.engines.vllm_host.model import LENGTH, REPETITION


def test_the_first_try_is_the_published_setting() -> None:
    assert first(DOCUMENT) == Attempt(DOCUMENT, NGRAM, 0.0)


def test_a_loop_meets_a_stronger_rule_then_a_plainer_prompt_then_warmth() -> None:
    assert list(after(DOCUMENT, REPETITION)) == [
        Attempt(DOCUMENT, STRONGER),
        Attempt(FREE_OCR, STRONGER),
        Attempt(DOCUMENT, STRONGER, 0.2),
        Attempt(DOCUMENT, STRONGER, 0.5),
    ]


def test_a_callers_own_prompt_is_never_replaced() -> None:
    assert {how.prompt for how in after("<image>\nWhat is it?", REPETITION)} == {"<image>\nWhat is it?"}


def test_a_page_without_room_is_tried_once_without_markup() -> None:
    assert list(after(DOCUMENT, LENGTH)) == [Attempt(FREE_OCR, STRONGER)]
    assert list(after(FREE_OCR, LENGTH)) == []


def test_the_stronger_rule_forbids_longer_repeats_only() -> None:
    assert (STRONGER.size, STRONGER.window) == (30, 256)
