"""The version of this service: the same in ``pyproject.toml``, which images and bare checkouts do not install."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
