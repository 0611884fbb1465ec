"""What a caller may do: the scope that each request needs."""

from __future__ import annotations

from fastapi import Request

from gateway.auth.api_keys import Scope
from gateway.auth.authenticator import Caller
from shared.errors import Forbidden


def needed_scope(request: Request) -> Scope:
    """Reading takes ``read``, and so does making a token, which can do no more; everything else takes ``submit``."""
    reads = request.method in {"GET", "HEAD"} or request.url.path.endswith("/token")
    return Scope.READ if reads else Scope.SUBMIT


def authorize(caller: Caller, needed: Scope) -> Caller:
    """The same caller. Raises ``Forbidden``."""
    if needed not in caller.scopes:
        raise Forbidden(f"This needs a key with the scope {needed}")
    return caller
