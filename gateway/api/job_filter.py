"""Filters of the list of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from fastapi import Request

from shared.contract.job import StoredJob
from shared.errors import BadOption

RFC3339: Final = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"
METADATA: Final = "metadata."
NAMES: Final = frozenset({"status", "limit", "cursor", "q", "batch", "since", "until", "idempotency_key"})


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Every condition that is given must hold. ``metadata``: name -> value, compared as text."""

    q: str | None = None
    batch: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        return any((self.q, self.batch, self.since, self.until, self.metadata))

    def keeps(self, job: StoredJob) -> bool:
        created = datetime.fromtimestamp(job.created_at, UTC)
        return (
            (self.q is None or self.q.casefold() in job.input.filename.casefold())
            and (self.batch is None or job.batch == self.batch)
            and (self.since is None or created >= self.since)
            and (self.until is None or created < self.until)
            and all(name in job.metadata and str(job.metadata[name]) == value for name, value in self.metadata.items())
        )


def time_of(text: str | None) -> datetime | None:
    """An RFC 3339 time. Raises ``BadOption`` for a day or an hour that does not exist."""
    try:
        return None if text is None else datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise BadOption(f"since and until take a time such as 2026-01-31T12:00:00Z: {error}") from None


def metadata_of(request: Request) -> dict[str, str]:
    """The ``metadata.NAME`` parameters. Raises ``BadOption`` for a name that no filter has."""
    given = request.query_params
    unknown = sorted(name for name in given if name not in NAMES and not name.startswith(METADATA))
    if unknown:
        raise BadOption(f"There is no filter {', '.join(unknown)[:200]}; there are {', '.join(sorted(NAMES))}")
    return {name.removeprefix(METADATA): value for name, value in given.items() if name.startswith(METADATA)}
