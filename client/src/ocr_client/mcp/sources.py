"""What an agent may have read: files under the given roots, data URIs, public URLs, and jobs that exist."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ocr_client.async_client import AsyncClient
from ocr_client.errors import ClientError
from ocr_client.models import Job

JOB_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


class NotAllowed(ClientError):
    """The source is none that may be read here."""


class Sources:
    """``roots``: folders whose files may be read; without any, no file of this machine may."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)

    async def job(self, client: AsyncClient, source: str, **options: Any) -> Job:
        """The job that reads the source: a new one, or the one that it names."""
        if JOB_ID.fullmatch(source):
            return await client.job(source)
        if found := DATA_URI.match(source):
            return await client.submit(_decoded(source[found.end() :]), **options)
        if source.startswith(("https://", "http://")):
            return await client.submit_url(source, **options)
        return await client.submit(self.path(source), **options)

    def path(self, source: str) -> Path:
        """The file, links resolved. Raises ``NotAllowed`` where it is not under a root."""
        if not self._roots:
            raise NotAllowed("No file of this machine may be read: send a data URI, a URL or a job's id")
        path = Path(source.removeprefix("file://")).expanduser()
        places = [path] if path.is_absolute() else [root / path for root in self._roots]
        for place in places:
            real = place.resolve()
            if real.is_file() and any(real.is_relative_to(root) for root in self._roots):
                return real
        raise NotAllowed(f"{source} is no file under {', '.join(map(str, self._roots))}")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotAllowed("The data URI is not valid base64") from None
