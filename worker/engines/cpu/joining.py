"""How pieces of text become running text: line ends, hyphens, scripts without spaces."""

from __future__ import annotations

import re

from worker.engines.cpu.lines import Row
from worker.engines.escape import escaped as escaped

CJK = r"\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_CJK = re.compile(f"[{CJK}]")
_HYPHENATED = re.compile(r"([^\W\d_]{2,})[-\u2010\u00ad]$")
_WORD_PART = re.compile(r"^[^\W\d_]+")

_GLUED_NUMBER = re.compile(r"^(\W?\s?\d{1,2}(?:\.\d{1,2})*\.?)(?=[A-Z][a-z]{2})")
_LOOSE_COLONS = re.compile(r"(?<=\w):\s?:\s?(?=\w)")
_LOOSE_DOT = re.compile(r"(?<=\w)\. (?=[a-z_]\w*\s?\()")


def mended(text: str) -> str:
    """A line without the recogniser's habits with spaces: ``4.1Types``, ``std: :max``, ``a. b()``."""
    text = _GLUED_NUMBER.sub(r"\1 ", text.strip())
    return _LOOSE_DOT.sub(".", _LOOSE_COLONS.sub("::", text))


def is_cjk(character: str) -> bool:
    return bool(_CJK.match(character))


def touching(before: str, after: str) -> bool:
    """Whether two pieces meet in a script that puts no spaces between words."""
    return bool(before) and bool(after) and is_cjk(before[-1]) and is_cjk(after[0])


def beside(before: str, after: str) -> str:
    return before + ("" if touching(before, after) else " ") + after


def row_text(row: Row) -> str:
    """The pieces of one row."""
    text = ""
    for piece in row.pieces:
        text = beside(text, piece.text) if text else piece.text
    return text.strip()


def run_on(before: str, after: str, known: frozenset[str]) -> str:
    """A line and the next one of the same paragraph. ``known``: the page's words, in lower case."""
    stem = _HYPHENATED.search(before)
    rest = _WORD_PART.match(after)
    if not stem or not rest or not rest.group()[0].islower():
        return beside(before, after) if not before.endswith(("-", "/")) else before + after
    if keeps_hyphen(stem.group(1), rest.group(), known):
        return before + after
    return before[:-1] + after


def keeps_hyphen(stem: str, rest: str, known: frozenset[str]) -> bool:
    """A hyphen at a line's end stays where the page writes the word so elsewhere, or both halves as words of their own.

    The page itself is the only dictionary there is; a word that it writes in one piece elsewhere loses the hyphen.
    """
    stem, rest = stem.lower(), rest.lower()
    if stem + rest in known:
        return False
    return f"{stem}-{rest}" in known or (stem in known and rest in known)


def vocabulary(texts: list[str]) -> frozenset[str]:
    """The words of a page in lower case, with those that have a hyphen inside."""
    return frozenset(word.lower() for text in texts for word in re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*(?!\S*-$)", text))
