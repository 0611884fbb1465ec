"""An upload and its password in one value."""

from __future__ import annotations

import pytest

from shared.store.upload import MARK, parted, with_password


@pytest.mark.parametrize("data", [b"%PDF-1.7", b"", MARK, MARK + b"\0\5abcde"])
@pytest.mark.parametrize("password", [None, "open sesame", "Öffne dich \U0001f5dd"])
def test_both_come_back(data: bytes, password: str | None) -> None:
    kept, word = parted(with_password(data, password))
    assert (bytes(kept), word) == (data, password)


def test_an_upload_without_a_password_is_kept_as_it_is() -> None:
    data = b"%PDF-1.7"
    assert with_password(data, None) is data
