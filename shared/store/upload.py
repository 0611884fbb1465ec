"""An upload as the store keeps it: its bytes, and before them the password of a PDF that needs one.

In one value, so that the password is gone with the upload, at the job's end. Of an upload that is a payload the value
holds the name, and the password.
"""

from __future__ import annotations

MARK = b"\x89upload with password\n"
NAMED = b"\x89upload elsewhere\n"
LENGTH = 2  # bytes that say how long the password is


def with_password(data: bytes, password: str | None) -> bytes:
    """The value to store: ``data`` itself where there is no password (and it does not look like there were one)."""
    if password is None and not data.startswith((MARK, NAMED)):
        return data
    word = (password or "").encode(errors="surrogatepass")
    return b"".join((MARK, len(word).to_bytes(LENGTH, "big"), word, data))


def parted(stored: bytes) -> tuple[memoryview, str | None]:
    """The upload's bytes, not copied, and its password; the inverse of ``with_password``."""
    if not stored.startswith(MARK):
        return memoryview(stored), None
    begin = len(MARK) + LENGTH
    end = begin + int.from_bytes(stored[len(MARK) : begin], "big")
    return memoryview(stored)[end:], stored[begin:end].decode(errors="surrogatepass") or None


def named(name: str, password: str | None) -> bytes:
    """The value to store for an upload that is a payload of this name."""
    return NAMED + with_password(name.encode(), password)


def name_in(stored: bytes) -> tuple[str, str | None] | None:
    """The payload's name and the password; None where the value is the upload itself."""
    if not stored.startswith(NAMED):
        return None
    name, password = parted(stored[len(NAMED) :])
    return bytes(name).decode(), password
