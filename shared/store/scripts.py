"""The Lua scripts of ``shared/lua``: loading them and running them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from shared.store.connect import Client, store_errors


@cache
def script_text(name: str) -> str:
    """The text of one script: the state machine of ``common.lua``, what ``hook_*`` share, the script's own lines."""
    folder = resources.files("shared") / "lua"
    parts = ["common", *(["hook"] if name.startswith("hook_") else []), name]
    return "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)


@cache
def script_digest(name: str) -> str:
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs scripts by digest, and by text where Redis does not know them (after a restart)."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def run(self, name: str, *args: str | bytes | int | float) -> Any:
        with store_errors():
            try:
                return await self._redis.evalsha(script_digest(name), 0, *args)
            except NoScriptError:
                # Not SCRIPT LOAD and the digest again: Redis may restart between the two.
                return await self._redis.eval(script_text(name), 0, *args)


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """``[b"a", b"1", ...]`` as Redis gives a hash inside a script's reply -> ``{"a": "1", ...}``."""
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
