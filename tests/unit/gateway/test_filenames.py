"""Names: what surfaces in a header, a zip or a page is harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.filenames import MAX_FILENAME_BYTES, clean_filename, content_disposition


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.pdf", "a.pdf"),
        ("a\x00b\r\nX: y.pdf", "abX_ y.pdf"),
        ("cod\u202efdp.exe", "codfdp.exe"),
        ("<script>.pdf", "_script_.pdf"),
        ("..", "upload"),
        ("", "upload"),
        ("\x00", "upload"),
        ("con.pdf", "_con.pdf"),
        ("发票 2024.pdf", "发票 2024.pdf"),
    ],
)
def test_clean(name: str, clean: str) -> None:
    assert clean_filename(name) == clean


@given(st.text())
def test_any_name_becomes_a_safe_one(name: str) -> None:
    clean = clean_filename(name)
    assert 0 < len(clean.encode()) <= MAX_FILENAME_BYTES
    assert not set(clean) & set("/\\<>\"'&\x00\r\n")
    assert clean == clean_filename(clean)
    assert content_disposition(name).isascii()
    assert content_disposition(name).isprintable()


def test_a_long_name_keeps_its_extension() -> None:
    assert clean_filename("é" * 500 + ".pdf").endswith("é.pdf")


def test_disposition_has_both_spellings() -> None:
    assert content_disposition("é.pdf") == "attachment; filename=\"e.pdf\"; filename*=UTF-8''%C3%A9.pdf"
