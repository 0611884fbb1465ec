"""CallerDep is calling. Every route that touches a job or a batch depends on ``caller``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from gateway.auth.authenticator import Caller as Caller
from gateway.services import ServicesDep


async def get_caller(request: Request, services: ServicesDep) -> Caller:
    """The caller of this request; without keys everyone is the same one."""
    return await services.authenticator.authenticate(request)


CallerDep = Annotated[Caller, Depends(get_caller)]
