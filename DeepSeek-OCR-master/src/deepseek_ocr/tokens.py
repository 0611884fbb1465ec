"""The model's special tokens, by their text. Ids are looked up in the tokenizer that is loaded, never written down."""

from __future__ import annotations

import re

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
IMAGE = "<image>"
GROUNDING = "<|grounding|>"
REF, REF_END = "<|ref|>", "<|/ref|>"
DET, DET_END = "<|det|>", "<|/det|>"

MARKUP = (REF, REF_END, DET, DET_END, GROUNDING, IMAGE, BOS, EOS, PAD)
"""Tokens that are never text of a page: the parser reads or drops them."""

TABLE = ("<td>", "</td>", "<tr>", "</tr>")
"""Added tokens that are text: table markup."""

_SPECIAL = re.compile(r"<[|｜][^<>|｜]*[|｜]>|<image>")


def special_tokens(text: str) -> list[str]:
    """What in ``text`` a tokenizer of this family could read as a special token, in order."""
    return _SPECIAL.findall(text)


def without_special_tokens(text: str) -> str:
    """``text`` with every special token taken out, also those that only appear once another one is gone."""
    while (shorter := _SPECIAL.sub("", text)) != text:
        text = shorter
    return text
