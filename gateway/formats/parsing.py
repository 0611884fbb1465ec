r"""Markdown as the engines write it: tables (HTML too), math as ``$``, ``$$``, ``\(``, ``\[`` and environments."""

from __future__ import annotations

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

MAX_FORMULA = 4000  # characters; a longer one is no formula
_TAGS = (
    "table|thead|tbody|tfoot|tr|td|th|caption|colgroup|col|br|hr|p|div|span|center|b|i|u|s|em|strong|sub|sup|small|mark|"
    "del|ins|code|pre|kbd|blockquote|ul|ol|li|dl|dt|dd|h[1-6]|a|img"
)
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+)"""
_NOT_MARKUP = re.compile(rf"<(?!/?(?:{_TAGS})(?:{_ATTRIBUTE}){{0,20}}\s*/?>)", re.IGNORECASE)
_CLOSING = {r"\(": r"\)", r"\[": r"\]"}


@cache
def parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    # No digit may touch a dollar from outside: "US$5 and US$10" is no formula.
    md.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True).use(amsmath_plugin)
    md.inline.ruler.before("escape", "bracket_math", _inline_math)
    md.block.ruler.before("paragraph", "bracket_math", _block_math, {"alt": ["paragraph", "list", "blockquote"]})
    return md


def only_markup(html: str) -> str:
    """HTML in which every ``<`` that begins none of the tags engines write is text: ``a<b and c>d``, ``<package>``.

    A page may show anything; what looks like a tag would be lost, or would take the rest of the page along.
    """
    return _NOT_MARKUP.sub("&lt;", html)


def _inline_math(state: StateInline, silent: bool) -> bool:
    closing = _CLOSING.get(state.src[state.pos : state.pos + 2])
    end = -1 if closing is None else state.src.find(closing, state.pos + 2, state.pos + 2 + MAX_FORMULA)
    if end < 0:
        return False
    if not silent:
        token = state.push("math_inline" if closing == r"\)" else "math_inline_double", "math", 0)
        token.content = state.src[state.pos + 2 : end]
    state.pos = end + 2
    return True


def _block_math(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    begin = state.bMarks[start] + state.tShift[start]
    if not state.src.startswith(r"\[", begin):
        return False
    stop = state.src.find(r"\]", begin, begin + MAX_FORMULA)
    last = next((line for line in range(start, end) if stop + 2 <= state.eMarks[line]), None)
    if stop < 0 or last is None or state.src[stop + 2 : state.eMarks[last]].strip():
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content, token.block, token.map = state.src[begin + 2 : stop], True, [start, last + 1]
        state.line = last + 1
    return True
