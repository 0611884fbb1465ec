from deepseek_ocr.prompts import DOCUMENT, FREE_OCR
from deepseek_ocr.repetition import NGRAM, STRONGER
from worker.engines.deepseek.ladder import LENGTH, REPETITION, Try, after, first


def test_the_first_try_is_the_published_setting():
    assert first(DOCUMENT) == Try(DOCUMENT, NGRAM, 0.0)


def test_a_loop_meets_a_stronger_rule_then_a_plainer_prompt_then_warmth():
    assert list(after(DOCUMENT, REPETITION)) == [
        Try(DOCUMENT, STRONGER),
        Try(FREE_OCR, STRONGER),
        Try(DOCUMENT, STRONGER, 0.2),
        Try(DOCUMENT, STRONGER, 0.5),
    ]


def test_a_callers_own_prompt_is_never_replaced():
    assert {how.prompt for how in after("<image>\nWhat is it?", REPETITION)} == {"<image>\nWhat is it?"}


def test_a_page_without_room_is_tried_once_without_markup():
    assert list(after(DOCUMENT, LENGTH)) == [Try(FREE_OCR, STRONGER)]
    assert list(after(FREE_OCR, LENGTH)) == []
