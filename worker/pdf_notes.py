"""Fields and notes of a PDF page: made to be drawn where they would not be, and compared with what is drawn of them."""

from __future__ import annotations

import ctypes
import html
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from pypdfium2 import raw

UNWRITTEN = frozenset({
    raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_HIGHLIGHT,
    raw.FPDF_ANNOT_UNDERLINE, raw.FPDF_ANNOT_SQUIGGLY, raw.FPDF_ANNOT_STRIKEOUT,
})  # fmt: skip
"""Annotations that put no words on the page."""

TICKED = frozenset({raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON})
TYPED = frozenset({raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX})
NO_FIELD = -1
UNSEEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
PASSWORD = 1 << 13

LONG, CUT = 20, 0.9
"""Letters of a value from which on it counts as cut off, and the share that is to be seen. A short one may be shown in
another form than it is kept in: a date, an amount."""

LOOKED_AT = 10
"""Pages of a document in which to look for a form's fields."""

_WRITES = re.compile(r"(?:T[jJ]|['\"]|Do)(?=\s|$)")
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation: ``kind`` of field (``NO_FIELD``: none), ``text`` that it should show, ``box`` in points."""

    subtype: int
    kind: int
    text: str
    box: tuple[float, float, float, float]


@contextmanager
def _opened(page: Any, index: int) -> Iterator[Any]:
    note = raw.FPDFPage_GetAnnot(page, index)
    try:
        yield note
    finally:
        raw.FPDFPage_CloseAnnot(note)


def notes_of(page: Any) -> list[Note]:
    found = []
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        with _opened(page, index) as note:
            kind = _kind(page, note)
            subtype, box = raw.FPDFAnnot_GetSubtype(note), raw.FS_RECTF()
            raw.FPDFAnnot_GetRect(note, box)
            found.append(Note(subtype, kind, _text(page, note, kind), (box.left, box.bottom, box.right, box.top)))
    return found


def _kind(page: Any, note: Any) -> int:
    form = page.pdf.formenv
    return raw.FPDFAnnot_GetFormFieldType(form, note) if form else NO_FIELD


def _text(page: Any, note: Any, kind: int) -> str:
    """What a field holds, or a note says on the page itself; nothing where it is not to be seen."""
    subtype = raw.FPDFAnnot_GetSubtype(note)
    if raw.FPDFAnnot_GetFlags(note) & UNSEEN:
        return ""
    if kind in TYPED:
        form = page.pdf.formenv
        if raw.FPDFAnnot_GetFormFieldFlags(form, note) & PASSWORD:
            return ""
        value = _read(lambda *at: raw.FPDFAnnot_GetFormFieldValue(form, note, *at))
        return value or _plain(_string(note, b"RV"))
    if subtype == raw.FPDF_ANNOT_FREETEXT:
        return _string(note, b"Contents") or _plain(_string(note, b"RC"))
    if subtype == raw.FPDF_ANNOT_STAMP and not _appearance(note):
        return _string(note, b"Contents") or "stamp"
    return ""


def _string(note: Any, key: bytes) -> str:
    return _read(lambda *at: raw.FPDFAnnot_GetStringValue(note, key, *at))


def _appearance(note: Any) -> str:
    return _read(lambda *at: raw.FPDFAnnot_GetAP(note, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, *at))


def _read(ask: Any) -> str:
    """The UTF-16 text that a function of PDFium writes into a buffer of so many bytes."""
    size = ask(None, 0)
    buffer = ctypes.create_string_buffer(size)
    ask(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", "replace").rstrip("\0")


def _plain(rich: str) -> str:
    return html.unescape(_TAG.sub(" ", rich)).strip()


def made_visible(page: Any) -> bool:
    """See to it that PDFium draws every field: whether the page must be loaded again for that.

    It draws fields only of a document with a form, which is lost where pages are cut out of one; and it leaves an
    appearance that shows nothing as it is, which some programs put there that fill in a form.
    """
    if not page.pdf.formenv:
        return _drawn_without_form(page)
    gone = [_empty_appearance_gone(page, index) for index in range(raw.FPDFPage_GetAnnotCount(page))]
    return any(gone)


def _drawn_without_form(page: Any) -> bool:
    count = raw.FPDFPage_GetAnnotCount(page)
    if not any(_is_widget(page, index) for index in range(count)):
        return False
    return bool(raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS)


def _is_widget(page: Any, index: int) -> bool:
    with _opened(page, index) as note:
        return bool(raw.FPDFAnnot_GetSubtype(note) == raw.FPDF_ANNOT_WIDGET)


def _empty_appearance_gone(page: Any, index: int) -> bool:
    """Take away an appearance without writing of a field with a value, so that PDFium makes one."""
    with _opened(page, index) as note:
        kind = _kind(page, note)
        if kind not in TYPED or not _text(page, note, kind).strip():
            return False
        given = _appearance(note)
        if not given or _WRITES.search(given):
            return False
        return bool(raw.FPDFAnnot_SetAP(note, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None))


@contextmanager
def written(page: Any, number: int, notes: Sequence[Note]) -> Iterator[Any | None]:
    """Page ``number`` with what its fields and notes show as its content; None where PDFium cannot do that.

    The document is changed.
    """
    if all(note.subtype in UNWRITTEN for note in notes):
        yield page
    elif raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_FAIL:
        yield None
    else:
        with closing(page.pdf[number - 1]) as flat:
            yield flat


def lost_notes(flat: Any, notes: Sequence[Note]) -> float:
    """The share of the page's writing that fields and notes hold and do not show: cut off, or not drawn at all.

    ``flat``: the page with their appearances as its content.
    """
    texts = [note for note in notes if note.text.strip()]
    if not texts:
        return 0.0
    with closing(flat.get_textpage()) as text:
        lost = sum(_unshown(note, text.get_text_bounded(*note.box)) for note in texts)
        return float(lost / max(1, lost + text.count_chars()))


def _unshown(note: Note, shown: str) -> int:
    """Letters of a note's text that are not to be seen."""
    whole, seen = len("".join(note.text.split())), len("".join(shown.split()))
    if not seen or (whole >= LONG and seen < CUT * whole):
        return whole - seen
    return 0


def is_without_fields(document: Any) -> bool:
    """Whether none of a document's first pages has a field."""
    for index in range(min(LOOKED_AT, len(document))):
        with closing(document[index]) as page:
            if any(_is_widget(page, note) for note in range(raw.FPDFPage_GetAnnotCount(page))):
                return False
    return True
