"""The names of payloads: ``01KB3X/01KB3X…/upload`` and ``01KB3X/01KB3X…/TOKEN/7/result.json``.

The topmost folder is the first characters of the job's id, which tell the time to about 17 minutes: no folder grows
without end, and a sweeper goes through them one by one. A page's payloads lie under the token of the claim that read
it, so two workers never write the same name. Payloads outlive an upgrade: whoever changes a name reads both for a
release.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SHARD_CHARACTERS: Final = 6
TEMPORARY: Final = "tmp/"
RESULT: Final = "result.json"
PICTURE: Final = "picture.webp"
UPLOAD: Final = "upload"
NAME: Final = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)


def job_folder(job_id: str) -> str:
    """Under which every payload of the job lies."""
    return f"{job_id[:SHARD_CHARACTERS]}/{job_id}/"


def upload_name(job_id: str) -> str:
    """Of the job's upload."""
    return f"{job_folder(job_id)}{UPLOAD}"


def page_name(job_id: str, token: str, page: int, part: str) -> str:
    """``part``: ``RESULT``, ``PICTURE`` or a figure's name."""
    return f"{job_folder(job_id)}{token}/{page}/{part}"


def job_of(name: str) -> str:
    """The job's id in a payload's name; empty for what is no job's."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 and not name.startswith(TEMPORARY) else ""


class PagePayloads(NamedTuple):
    """What the record says of a page's payloads: the claim that wrote them, and ``RESULT`` and ``PICTURE`` if they are.

    ``source``: the job they were written for, where that is another. As text: the token, the first letters of the
    parts, and the source, ``4f1c… rp 01KB…``.
    """

    token: str
    result: bool
    picture: bool
    source: str = ""

    def __str__(self) -> str:
        parts = f"{self.token} {'r' * self.result}{'p' * self.picture}"
        return f"{parts} {self.source}" if self.source else parts

    @classmethod
    def of(cls, text: str) -> PagePayloads:
        token, _, rest = text.partition(" ")
        parts, _, source = rest.partition(" ")
        return cls(token, "r" in parts, "p" in parts, source)

    def name(self, job_id: str, page: int, part: str) -> str:
        """Of a part of this job's page."""
        return page_name(self.source or job_id, self.token, page, part)

    def folder(self, job_id: str) -> str:
        """Under which this job's page lies."""
        return job_folder(self.source or job_id)
