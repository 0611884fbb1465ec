"""Annotations of a PDF page, fields of a form among them: made to be drawn where they would not be, and compared with
what is drawn of them."""

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
class Annotation:
    """A field, or what somebody put on the page. ``kind``: of field (``NO_FIELD``: none); ``text``: what it
    should show; ``box``: in points."""

    subtype: int
    kind: int
    text: str
    box: tuple[float, float, float, float]


def _handles(page: Any) -> Iterator[Any]:
    """PDFium's handle of each, open for as long as it is looked at."""
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        handle = raw.FPDFPage_GetAnnot(page, index)
        try:
            yield handle
        finally:
            raw.FPDFPage_CloseAnnot(handle)


def annotations_of(page: Any) -> list[Annotation]:
    found = []
    for handle in _handles(page):
        kind, box = _kind(page, handle), raw.FS_RECTF()
        raw.FPDFAnnot_GetRect(handle, box)
        sides = box.left, box.bottom, box.right, box.top
        found.append(Annotation(raw.FPDFAnnot_GetSubtype(handle), kind, _text(page, handle, kind), sides))
    return found


def _kind(page: Any, handle: Any) -> int:
    form = page.pdf.formenv
    return raw.FPDFAnnot_GetFormFieldType(form, handle) if form else NO_FIELD


def _text(page: Any, handle: Any, kind: int) -> str:
    """What a field holds, or an annotation says on the page itself; nothing where it is not to be seen."""
    subtype = raw.FPDFAnnot_GetSubtype(handle)
    if raw.FPDFAnnot_GetFlags(handle) & UNSEEN:
        return ""
    if kind in TYPED:
        form = page.pdf.formenv
        if raw.FPDFAnnot_GetFormFieldFlags(form, handle) & PASSWORD:
            return ""
        value = _read(lambda *at: raw.FPDFAnnot_GetFormFieldValue(form, handle, *at))
        return value or _plain(_string(handle, b"RV"))
    if subtype == raw.FPDF_ANNOT_FREETEXT:
        return _string(handle, b"Contents") or _plain(_string(handle, b"RC"))
    if subtype == raw.FPDF_ANNOT_STAMP and not _appearance(handle):
        return _string(handle, b"Contents") or "stamp"
    return ""


def _string(handle: Any, key: bytes) -> str:
    return _read(lambda *at: raw.FPDFAnnot_GetStringValue(handle, key, *at))


def _appearance(handle: Any) -> str:
    return _read(lambda *at: raw.FPDFAnnot_GetAP(handle, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, *at))


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
    gone = [_empty_appearance_gone(page, handle) for handle in _handles(page)]
    return any(gone)


def _drawn_without_form(page: Any) -> bool:
    if not _has_fields(page):
        return False
    return bool(raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS)


def _has_fields(page: Any) -> bool:
    subtypes = [raw.FPDFAnnot_GetSubtype(handle) for handle in _handles(page)]
    return raw.FPDF_ANNOT_WIDGET in subtypes


def _empty_appearance_gone(page: Any, handle: Any) -> bool:
    """Take away an appearance without writing of a field with a value, so that PDFium makes one."""
    kind = _kind(page, handle)
    if kind not in TYPED or not _text(page, handle, kind).strip():
        return False
    given = _appearance(handle)
    if not given or _WRITES.search(given):
        return False
    return bool(raw.FPDFAnnot_SetAP(handle, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None))


@contextmanager
def flattened(page: Any, number: int, annotations: Sequence[Annotation]) -> Iterator[Any | None]:
    """Page ``number`` with what its annotations show as its content; None where PDFium cannot do that.

    The document is changed.
    """
    if all(annotation.subtype in UNWRITTEN for annotation in annotations):
        yield page
    elif raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_FAIL:
        yield None
    else:
        with closing(page.pdf[number - 1]) as flat:
            yield flat


def lost_text(flat: Any, annotations: Sequence[Annotation]) -> float:
    """The share of the page's writing that annotations hold and do not show: cut off, or not drawn at all.

    ``flat``: the page with their appearances as its content.
    """
    holding = [annotation for annotation in annotations if annotation.text.strip()]
    if not holding:
        return 0.0
    with closing(flat.get_textpage()) as text:
        lost = sum(_unshown(annotation, text.get_text_bounded(*annotation.box)) for annotation in holding)
        return float(lost / max(1, lost + text.count_chars()))


def _unshown(annotation: Annotation, shown: str) -> int:
    """Letters of an annotation's text that are not to be seen."""
    whole, seen = len("".join(annotation.text.split())), len("".join(shown.split()))
    if not seen or (whole >= LONG and seen < CUT * whole):
        return whole - seen
    return 0


def is_without_fields(document: Any) -> bool:
    """Whether none of a document's first pages has a field."""
    for index in range(min(LOOKED_AT, len(document))):
        with closing(document[index]) as page:
            if _has_fields(page):
                return False
    return True
