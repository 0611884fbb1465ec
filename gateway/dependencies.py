"""Who is calling. Every route that touches a job or a batch depends on ``caller``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from gateway.auth.authenticator import Caller as Caller
from gateway.services import House


async def caller(request: Request, house: House) -> Caller:
    """The caller of this request; without keys everyone is the same one."""
    return await house.door.admit(request)


Who = Annotated[Caller, Depends(caller)]
