"""Make the names of uploads harmless before they appear in a header, a zip or a page."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_FILENAME_BYTES = 120
_UNSAFE = dict.fromkeys(map(ord, "<>:\"|?*&'`;%$\\/"), "_")
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10)}


def clean_filename(name: str) -> str:
    """The last part of ``name`` without control, format and markup characters, at most 120 bytes; never empty.

    The extension is kept where it is a short one. Path parts of both kinds of slashes are dropped.
    """
    last = name[-4096:].replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(char for char in unicodedata.normalize("NFC", last) if unicodedata.category(char)[0] != "C")
    flat = " ".join(kept.translate(_UNSAFE).split()).strip(". ")
    safe = f"_{flat}" if flat.split(".")[0].strip().lower() in _DEVICES else flat
    return _shortened(safe) or "upload"


def _shortened(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix.encode()) <= 10 else ""
    stem = name.removesuffix(suffix).encode()[: MAX_FILENAME_BYTES - len(suffix.encode())].decode(errors="ignore")
    return (stem.rstrip() + suffix).strip(". ")


def content_disposition(name: str, kind: str = "attachment") -> str:
    """The header's value by RFC 6266: an ASCII name for old clients, the whole one in UTF-8 for the others."""
    clean = clean_filename(name)
    ascii_name = unicodedata.normalize("NFKD", clean).encode("ascii", "ignore").decode().strip(". ") or "upload"
    value = f'{kind}; filename="{ascii_name}"'
    return value if ascii_name == clean else f"{value}; filename*=UTF-8''{quote(clean, safe='')}"
