"""Prompts the model was trained on, and how a caller's own words become one.

No chat template: a prompt is ``<image>``, a newline and one sentence. Text is tokenised with special tokens
recognised, so a caller's ``<image>`` would ask for a second picture: such text is stripped or refused here.
"""

from __future__ import annotations

from deepseek_ocr.tokens import GROUNDING, IMAGE, REF, REF_END, special_tokens, without_special_tokens

HEAD = f"{IMAGE}\n"

DOCUMENT = f"{HEAD}{GROUNDING}Convert the document to markdown."
OTHER_IMAGE = f"{HEAD}{GROUNDING}OCR this image."
FREE_OCR = f"{HEAD}Free OCR."
FIGURE = f"{HEAD}Parse the figure."
DESCRIBE = f"{HEAD}Describe this image in detail."

PROMPTS = {
    "document": DOCUMENT,
    "image": OTHER_IMAGE,
    "free": FREE_OCR,
    "figure": FIGURE,
    "describe": DESCRIBE,
}


class PromptError(ValueError):
    """A prompt that cannot be sent to the model; the message says why and is fit for its author's eyes."""


def locate(text: str) -> str:
    """Ask where ``text`` is on the page; special tokens in it are taken out. Raises PromptError if nothing is left."""
    wanted = without_special_tokens(text).strip()
    if not wanted:
        raise PromptError("there is no text to locate")
    return f"{HEAD}Locate {REF}{wanted}{REF_END} in the image."


def custom(text: str) -> str:
    """A caller's own prompt as the model must get it.

    The published forms are taken as they are: a leading ``<image>`` and a leading ``<|grounding|>`` are kept (once),
    and so is ``Locate <|ref|>…<|/ref|> in the image.``. Any other special token raises PromptError.
    """
    words = text.strip().removeprefix(IMAGE).lstrip()
    grounding = words.startswith(GROUNDING)
    words = words.removeprefix(GROUNDING).strip()
    if wanted := _located(words):
        return locate(wanted)
    if smuggled := special_tokens(words):
        raise PromptError(f"a prompt must not contain the special token {smuggled[0]}")
    if not words:
        raise PromptError("the prompt is empty")
    return f"{HEAD}{GROUNDING if grounding else ''}{words}"


def labels_are_text(prompt: str) -> bool:
    """Does the model answer ``prompt`` with text in its labels? Then a line that reads ``table`` is no table."""
    return prompt == OTHER_IMAGE or _located(prompt.removeprefix(HEAD)) is not None


def _located(words: str) -> str | None:
    head, tail = f"Locate {REF}", f"{REF_END} in the image."
    inner = words.removeprefix(head).removesuffix(tail)
    if len(inner) != len(words) - len(head) - len(tail) or special_tokens(inner):
        return None
    return inner.strip() or None
