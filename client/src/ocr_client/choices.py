"""The values that the service accepts for its options. A test holds them against the service's own lists."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args


class OutputFormat(StrEnum):
    """``zip``: Markdown, JSON, figures and tables in one archive."""

    MD = "md"
    JSON = "json"
    HTML = "html"
    TXT = "txt"
    ZIP = "zip"


ReadType = Literal["document", "image"]
Mode = Literal["tiny", "small", "base", "large", "gundam"]
Priority = Literal["high", "normal", "low"]
TextLayer = Literal["ignore", "prefer"]
Status = Literal["queued", "processing", "succeeded", "partial", "failed", "cancelled"]

FORMATS = tuple(str(one) for one in OutputFormat)
BINARY_FORMATS = frozenset({"zip"})  # never on stdout
JOINABLE_FORMATS = frozenset({"md", "txt"})  # several results may follow each other in one stream
TYPES: tuple[str, ...] = get_args(ReadType)
MODES: tuple[str, ...] = get_args(Mode)
PRIORITIES: tuple[str, ...] = get_args(Priority)
TEXT_LAYERS: tuple[str, ...] = get_args(TextLayer)
STATUSES: tuple[str, ...] = get_args(Status)
SUFFIXES = (
    "pdf", "png", "jpg", "jpeg", "webp", "tif", "tiff", "gif", "bmp", "avif", "heic", "heif", "jp2", "j2k",
)  # fmt: skip
"""Of the files that are read from a folder."""
