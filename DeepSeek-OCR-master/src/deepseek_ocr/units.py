"""A block's text cut into what is written at once: lines, with the formulas in them told apart, and tables.

A line ends at a line end that is in no formula. A formula ends before the next blank line and within ``MAX_FORMULA``
characters, else its opening is no formula. Every cut is the same however the text arrived.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

MAX_FORMULA = 4000

_STOP = re.compile(r"\n|`|(?<!\\)\\[(\[]|\\begin\{ *([A-Za-z]+\*?) *\}|<table\b", re.IGNORECASE)
_BLANK = re.compile(r"\n[ \t]*\n")
_TABLE_TAG = re.compile(r"<(/?)table\b[^<>]*>", re.IGNORECASE)
_INLINE_OPENING = re.compile(r"(?<!\\)\\\(")
_CLOSING = {r"\(": (r"\)", r"\]"), r"\[": (r"\]", r"\)")}


class Kind(Enum):
    INLINE = auto()
    DISPLAY = auto()
    ENVIRONMENT = auto()
    CODE = auto()


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line that is no running text; ``body`` is without what encloses it (an environment keeps that)."""

    kind: Kind
    start: int
    end: int
    body: str


@dataclass(frozen=True, slots=True)
class UnitLine:
    """``text`` without its line end. ``ended``: there was one, so the next line goes on in the same paragraph."""

    text: str
    spans: tuple[Span, ...] = ()
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """``html`` from ``<table`` to its end, or to the end of the block."""

    html: str


Unit = UnitLine | Table


def first_unit(text: str, *, last: bool, verbatim: bool = False) -> tuple[Unit, int] | None:
    """The unit that ``text`` begins with, and where it ends; None while that cannot be told.

    ``last``: no more text comes. ``verbatim``: a line of code, in which nothing is told apart.
    """
    spans: list[Span] = []
    at = 0
    while stop := _STOP.search(text, at):
        if stop[0] == "\n":
            return UnitLine(text[: stop.start()], tuple(spans)), stop.end()
        if verbatim:
            at = stop.end()
        elif stop[0].lower() == "<table":
            if stop.end() == len(text) and not last:  # the name may go on
                return None
            return _table(text, stop.start(), tuple(spans), last=last)
        else:
            whole = last or _settled(text, stop)
            span = _span(text, stop, whole=whole)
            if span is None and not whole:
                return None
            if span:
                spans.append(span)
            at = span.end if span else stop.end()
    return (UnitLine(text, tuple(spans), ended=False), len(text)) if last and text else None


def _table(text: str, start: int, spans: tuple[Span, ...], *, last: bool) -> tuple[Unit, int] | None:
    if text[:start].strip():
        return UnitLine(text[:start], spans, ended=False), start
    depth = 0
    for tag in _TABLE_TAG.finditer(text, start):
        depth += -1 if tag[1] else 1
        if depth <= 0:
            return Table(text[start : tag.end()]), tag.end()
    return (Table(text[start:].rstrip()), len(text)) if last else None


def _span(text: str, stop: re.Match[str], *, whole: bool) -> Span | None:
    """The formula or code that begins at ``stop``, if it has an end. ``whole``: later text cannot end it."""
    start = stop.end()
    if stop[0] == "`":
        end = text.find("`", start, _limit(text, start, "\n"))
        return Span(Kind.CODE, stop.start(), end + 1, text[start:end]) if end > start else None
    if stop[0] in _CLOSING:
        return _bracketed(text, stop, whole=whole)
    closer = re.compile(rf"\\end\{{ *{re.escape(stop[1])} *\}}")
    found = closer.search(text, start, _limit(text, start))
    body = text[stop.start() : found.end()] if found else ""
    return Span(Kind.ENVIRONMENT, stop.start(), found.end(), body) if found else None


def _bracketed(text: str, stop: re.Match[str], *, whole: bool) -> Span | None:
    """The model mixes the brackets up. An inline formula ends at either kind, before the next one begins; a displayed
    one may hold inline ones, so it ends at the other kind only where its own is nowhere."""
    limit = _limit(text, stop.end())
    own, other = (text.find(closing, stop.end(), limit) for closing in _CLOSING[stop[0]])
    if stop[0] == r"\(":
        kind, end = Kind.INLINE, min((end for end in (own, other) if end >= 0), default=-1)
        if _INLINE_OPENING.search(text, stop.end(), end if end >= 0 else limit):
            return None
    else:
        kind, end = Kind.DISPLAY, own if own >= 0 or not whole else other
    return Span(kind, stop.start(), end + 2, text[stop.end() : end]) if end >= 0 else None


def _limit(text: str, start: int, stop: str = "") -> int:
    """Where a formula that begins at ``start`` must have ended."""
    end = min(len(text), start + MAX_FORMULA)
    if stop:
        found = text.find(stop, start, end)
        return found if found >= 0 else end
    blank = _BLANK.search(text, start, end)
    return blank.start() if blank else end


def _settled(text: str, stop: re.Match[str]) -> bool:
    """Can no later text end what begins at ``stop``?"""
    if stop[0] == "`":
        return "\n" in text[stop.end() :]
    if stop[0] == r"\(" and _INLINE_OPENING.search(text, stop.end(), _limit(text, stop.end())):
        return True
    return len(text) - stop.end() >= MAX_FORMULA or _BLANK.search(text, stop.end()) is not None
