"""What is made of a line of the model's text. Each rule says what it is for; the order matters.

Formulas and code are taken out before and put back after, so that no rule touches them (``set_aside``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deepseek_ocr import formulas
from deepseek_ocr.style import MarkdownStyle
from deepseek_ocr.units import Kind, Span, UnitLine

INLINE, DISPLAY = "\ufdd0", "\ufdd1"
"""Stand for a formula while the rules run. Unicode says that they are no characters; ``without_marks`` sees to it."""

BREAK = "  \n"
"""A hard line break."""

_CENTER = re.compile(r"[ \t]*</?ce(?:nter)?\s*>[ \t]*", re.IGNORECASE)
_PRINTED_LINE = re.compile(r"(?<=\S)  (?=\S)")
_RANGE = re.compile(r"(?<=[0-9]\])- (?=\[[0-9]+\])|(?<=[0-9]\))- (?=\([0-9]+\))")
_ITEM = re.compile(rf"(?!{_RANGE.pattern})(?<=[.;:!?)\]])- (?=\S)")
_PREFIXES = "|".join(rf"\b{word}" for word in ("non", "pre", "pro", "sub", "mid", "all", "neo", "bio"))
_NEXT_ITEM = re.compile(rf"(?<=[^\W\d_]{{3}})(?<!(?i:{_PREFIXES}))- (?=([^\W\d_])(?:[^\W\d_]|\s))")
_REFERENCE = re.compile(r"\[(\d{1,4})\] ")
_KEPT_APART = frozenset(
    {
        "and", "or", "to", "nor", "in", "vs", "und", "oder", "bzw", "sowie", "als", "durch", "noch", "bis", "et", "ou",
        "y", "o", "u", "e", "en", "och", "eller", "og",
    }
)  # fmt: skip
_HYPHEN = re.compile(r"(?<=\w)- (?=\w)")
_WORD = re.compile(r"\w+")
_YEAR = re.compile(r"\s*(\d{1,4})\s*")

_EMPHASIS = re.compile(
    r"(?<![*\w)\\])(\*{1,3})(?=[^\s*])((?:[^*\\]|\\.)*?)(?<=[^\s*\\])\1(?![*\w(])"
    r"|(?<![*0-9A-Za-z)\\])(\*\*)(?=[^\s*])((?:[^*\\]|\\.)*?)(?<=[^\s*\\])\3(?![*0-9A-Za-z(])"
)
_STARS = re.compile(r"(?<=[^\s\\*])\*+|(?<![\\*])\*+(?=[^\s*])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_EDGE = re.compile(r"(?<![\w\\])_+(?=[^\s_])")
_BRACKET = re.compile(r"(?<!\\)\\([\[\]()])")
_TAG = re.compile(r"<(?!/?(?:b|i|u|s|em|strong|sub|sup|br)\s*/?>)(?=[A-Za-z/!?])", re.IGNORECASE)
_STRAY_CELLS = re.compile(rf"(?:</?(?:table|thead|tbody|tr|td|th)(?:\s[^<>{INLINE}{DISPLAY}]*)?>\s*)+", re.IGNORECASE)
_DEFINITION = re.compile(r"^( {0,3}\[[^\]\n]+\])(?=:)")
_RULE = re.compile(r"^( *)(?=(?:-[ -]*-[ -]*-|=+|_[ _]*_[ _]*_|\*[ *]*\*[ *]*\*)[ -=_*]*$|--? *$)")
_FENCE = re.compile(r"^( {0,3})(?=~~~)")
_PRINTED_MARK = re.compile(r"^( {0,3})(?=[*+](?: |$)|>)")
PRINTED_MARKS = ("\\* ", "** ", "*** ", "\\+ ", "\\>")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")


def without_marks(text: str) -> str:
    """``text`` without the two signs that stand for formulas."""
    return text.replace(INLINE, "\ufffd").replace(DISPLAY, "\ufffd")


def set_aside(line: UnitLine, *, own_lines: bool) -> tuple[str, list[Span]]:
    """The line's text with a sign for every formula and piece of code, and those in order.

    ``own_lines``: a displayed formula may stand on lines of its own here. A number in the brackets of one, with other
    text beside it, is a number in brackets.
    """
    text, at, spans = "", 0, []
    rest = "".join(_between(line)).strip()
    for span in line.spans:
        text += line.text[at : span.start]
        at = span.end
        if rest and span.kind is Kind.DISPLAY and (number := _YEAR.fullmatch(span.body)):
            text += f"[{number[1]}]"
            continue
        displayed = own_lines and span.kind in (Kind.DISPLAY, Kind.ENVIRONMENT)
        text += DISPLAY if displayed else INLINE
        spans.append(span)
    return text + line.text[at:], spans


def _between(line: UnitLine) -> Iterator[str]:
    at = 0
    for span in line.spans:
        yield line.text[at : span.start]
        at = span.end
    yield line.text[at:]


def is_centred(text: str) -> bool:
    return _CENTER.search(text) is not None


def paragraphs(text: str) -> list[str]:
    """A line in the parts that its ``<center>`` tags make of it."""
    return [part for part in _CENTER.split(text) if part.strip()]


def at_printed_lines(text: str) -> str:
    """Two spaces are the end of a printed line, on pages that end their blocks with two."""
    return _PRINTED_LINE.sub(BREAK, text).replace(f"{BREAK}- ", "\n- ")


def at_items(text: str, *, in_list: bool) -> str:
    """List items that run together get lines of their own."""
    split = _ITEM.sub("\n- ", text)
    if not in_list and not split.startswith("- ") and "\n- " not in split:
        return text
    return _NEXT_ITEM.sub(lambda found: "\n- " if found[1].isupper() else found[0], split)


def at_references(text: str, number: int | None) -> tuple[str, int | None]:
    """Entries of a list of references become paragraphs. ``number``: of the last entry; returned: of the last here."""
    start = _REFERENCE.match(text)
    if number is None and not start:
        return text, None
    at, number = (start.end(), int(start[1])) if start else (0, number or 0)
    pieces = [text[:at]]
    while (end := text.find(f" [{number + 1}] ", at)) >= 0:
        pieces.append(text[at:end].rstrip() + "\n\n")
        at, number = end + 1, number + 1
    return "".join((*pieces, text[at:])), number


def joined_hyphens(text: str) -> str:
    """The model writes a space after a hyphen: ``third- party``, ``[2]- [4]``. Real ones stay: ``pre- and post-``,
    ``Wi- Fi``."""
    return _HYPHEN.sub(_hyphen, _RANGE.sub("-", text))


def _hyphen(found: re.Match[str]) -> str:
    word = _WORD.search(found.string, found.end())
    if word is None:
        return found[0]
    conjunction = word[0].lower() in _KEPT_APART and (len(word[0]) > 1 or word[0].islower())
    if conjunction and not found.string.startswith("- ", word.end()):
        return found[0]
    return found[0] if word[0][0].isupper() and word[0][1:2].islower() else "-"


def escaped(text: str) -> str:
    """What the model means as printed signs stays printed: stars and underscores in words, dollars, tags, links.

    Tags of cells outside any table (its beginning was lost) part words.
    """
    text = _BRACKET.sub(r"\1", formulas.replaced(_STRAY_CELLS.sub(" ", text)))
    text = _DOLLAR.sub(r"\\$", text)
    text = _EDGE.sub(lambda found: found[0].replace("_", r"\_"), text)
    text = _TAG.sub(r"\\<", text).replace("](", "]&#40;")
    return _without_stray_stars(text)


def _without_stray_stars(text: str) -> str:
    if "*" not in text:
        return text
    at, pieces = 0, []
    bullet = re.match(r"\s*\* ", text)
    if bullet:
        at = bullet.end()
        pieces.append(bullet[0])
    for found in _EMPHASIS.finditer(text, at):
        pieces += [_STARS.sub(_starless, text[at : found.start()]), found[0]]
        at = found.end()
    return "".join((*pieces, _STARS.sub(_starless, text[at:])))


def _starless(found: re.Match[str]) -> str:
    return found[0].replace("*", r"\*")


def line_starts(text: str, *, comments: bool, marks: bool, below_text: bool) -> str:
    """The first signs of lines. ``comments``: a single ``#`` is printed (code, a footnote's mark). ``marks``: so are
    stars, plus and greater signs (``* p < 0.05``, ``> 5 mm``). ``below_text``: a line stands above."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if comments and line.startswith("# "):
            line = "\\" + line
        if (below_text or i > 0 or set(line.strip()) <= {"_", " "}) and _RULE.match(line) and line.strip():
            line = _RULE.sub(r"\1\\", line)
        if marks:
            line = _PRINTED_MARK.sub(r"\1\\", line)
        lines[i] = _DEFINITION.sub(r"\1\\", _FENCE.sub(r"\1\\", line))
    return "\n".join(lines)


def put_back(text: str, spans: Iterable[Span], style: MarkdownStyle) -> str:
    """The text with its inline formulas and code; digits that touch a dollar go into the formula (``$10^{6}$``)."""
    first, *others = text.split(INLINE)
    before, touching = _number_apart(first)
    pieces, own = [before], []
    for span, after in zip(spans, others, strict=True):
        own.append(span)
        number = _NUMBER.match(after)
        touching += INLINE + (number[0] if number else "")
        rest = after[number.end() :] if number else after
        if rest:
            before, next_touching = _number_apart(rest)
            pieces += [_restored(touching, own, style), before]
            touching, own = next_touching, []
    return "".join((*pieces, _restored(touching, own, style)))


def _number_apart(text: str) -> tuple[str, str]:
    """``text`` without the number that it ends in, and that. Read backwards: a line may be thousands of digits long."""
    number = _NUMBER.match(text[::-1])
    start = len(text) - (number.end() if number else 0)
    return text[:start], text[start:]


def _restored(text: str, own: list[Span], style: MarkdownStyle) -> str:
    """Formulas with nothing but numbers between them: one formula."""
    if style.math == "brackets" or any(span.kind is Kind.CODE for span in own):
        return _with_each(text, [written(span, style) for span in own])
    bodies = [f"{' ' if i else ''}{formulas.body_of(formulas.replaced(span.body))}" for i, span in enumerate(own)]
    return formulas.in_dollars(_with_each(text, bodies)) if own else text


def _with_each(text: str, pieces: list[str]) -> str:
    parts = text.split(INLINE)
    return parts[0] + "".join(piece + part for piece, part in zip(pieces, parts[1:], strict=True))


def written(span: Span, style: MarkdownStyle) -> str:
    """A formula or piece of code in a line of text."""
    if span.kind is Kind.CODE:
        return f"`{span.body}`"
    body = formulas.replaced(span.body)
    if style.math == "dollars":
        return formulas.in_dollars(body)
    if span.kind is Kind.ENVIRONMENT:
        return body
    opening, closing = (r"\(", r"\)") if span.kind is Kind.INLINE else (r"\[", r"\]")
    return f"{opening}{formulas.named(body)}{closing}"


def displayed(span: Span, style: MarkdownStyle, after: str) -> str:
    """A formula on lines of its own; ``after``: the punctuation behind it."""
    body = formulas.replaced(span.body)
    if style.math == "dollars":
        return formulas.on_its_own(body, after)
    if span.kind is Kind.ENVIRONMENT:
        return formulas.named(body) + after
    return rf"\[{formulas.named(body)}\]{after}"
