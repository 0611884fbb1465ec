"""Prefer: wait=N, as RFC 7240 writes it."""

from __future__ import annotations

import pytest

from gateway.api.long_poll import preferred


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10), ("respond-async, wait=5", 5), ("respond-async;wait=5", 5), ("Wait = 7", 7), ('wait="8"', 8),
        ("wait=3600", 60), ("wait=0", 0), ("wait=-1", 0), ("wait=1.5", 0), ("wait=x", 0), ("await=5", 0), ("", 0),
        ("wait=5x", 0), ("wait=5, wait=6", 5),
    ],
)  # fmt: skip
def test_a_wait_is_read_or_ignored(header: str, seconds: int) -> None:
    found = preferred(header)
    assert found.seconds == seconds
    assert found.headers == ({"Preference-Applied": f"wait={seconds}"} if seconds else {})
