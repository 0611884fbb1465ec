"""The payload store of the processes that tests and measurements start: a folder that ends with this process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from shared.payloads.folder import FolderPayloads


@cache
def payloads_url() -> str:
    """``file:///...``: one folder for all that this process starts."""
    folder = tempfile.mkdtemp(prefix="payloads-")
    FolderPayloads(Path(folder)).make()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return f"file://{folder}"
