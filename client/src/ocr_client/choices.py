"""The values that the service accepts for its options. A test holds them against the service's own lists."""

from __future__ import annotations

FORMATS = ("md", "json", "html", "txt", "zip")
BINARY_FORMATS = frozenset({"zip"})  # never on stdout
JOINABLE_FORMATS = frozenset({"md", "txt"})  # several results may follow each other in one stream
TYPES = ("document", "image")
MODES = ("tiny", "small", "base", "large", "gundam")
PRIORITIES = ("high", "normal", "low")
