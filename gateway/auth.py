"""Who is calling. Every route that touches a job or a batch depends on ``caller``: keys will come in here alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from shared.store import ANONYMOUS


@dataclass(frozen=True, slots=True)
class Caller:
    """``owner`` is what the caller's jobs are filed under; nobody sees another owner's."""

    owner: str = ANONYMOUS


async def caller(_request: Request) -> Caller:
    """The caller of this request; without keys everyone is the same one."""
    return Caller()


Who = Annotated[Caller, Depends(caller)]
