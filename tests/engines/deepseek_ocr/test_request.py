import pytest

from deepseek_ocr.modes import GUNDAM, TINY
from deepseek_ocr.prompts import DOCUMENT, FREE_OCR, OTHER_IMAGE, labels_are_text, locate
from deepseek_ocr.style import DEFAULT_STYLE, MarkdownStyle
from shared.contract.options import Options
from shared.errors import BadPrompt
from worker.engines.deepseek_ocr.request import mode_for, prompt_for, request_of


def test_the_type_names_the_prompt() -> None:
    assert prompt_for(Options()) == DOCUMENT
    assert prompt_for(Options(type="image")) == OTHER_IMAGE


def test_a_callers_prompt_goes_before_the_type() -> None:
    assert prompt_for(Options(type="image", prompt="Free OCR.")) == FREE_OCR


@pytest.mark.parametrize("prompt", ["two <image> <image>", "<|ref|>", "  "])
def test_a_prompt_that_cannot_be_used_is_the_callers_error(prompt: str) -> None:
    with pytest.raises(BadPrompt, match="cannot be used"):
        prompt_for(Options(prompt=prompt))


def test_without_a_mode_the_models_default_is_taken() -> None:
    assert mode_for(Options()) is GUNDAM
    assert mode_for(Options(mode="tiny")) is TINY


def test_the_options_choose_the_markdown() -> None:
    assert request_of(Options()).style == DEFAULT_STYLE
    options = Options(table="html", math="brackets", clean=False)
    assert request_of(options).style == MarkdownStyle(math="brackets", table="html", clean=False)


def test_the_prompt_decides_whether_labels_are_text() -> None:
    texts = [OTHER_IMAGE, locate("a word"), prompt_for(Options(prompt="Locate <|ref|>it<|/ref|> in the image."))]
    assert [labels_are_text(prompt) for prompt in [*texts, DOCUMENT, FREE_OCR]] == [True, True, True, False, False]
