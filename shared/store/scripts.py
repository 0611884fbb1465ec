"""The Lua scripts of ``shared/lua``: putting them together and running them.

A script is one file in ``jobs``, ``webhooks`` or ``limits`` and is known by its base name. A line ``--- @include name``
brings the functions of ``include/name.lua`` in, before the script and each once, whoever asks for them. In front of it
all stand the names that Python owns: ``keys``, ``RANKS``, ``HISTOGRAM_BOUNDS`` (``shared.store.keyspace``) and
``TERMINAL_STATUSES``, as far
as the script uses them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from redis.exceptions import NoScriptError

from shared.contract.states import TERMINAL_STATUSES
from shared.store.connect import Client, store_errors
from shared.store.keyspace import HISTOGRAM_BOUNDS, KEYS, RANKS, Key

FOLDERS: Final = ("jobs", "webhooks", "limits")
INCLUDE: Final = re.compile(r"^--- @include (\S+)\n", re.MULTILINE)
KEY: Final = re.compile(r"\bkeys\.(\w+)")


class ScriptError(Exception):
    """A script cannot be put together; the message says which and why."""


class ScriptLoader:
    """Puts scripts together from the files of one folder."""

    def __init__(self, folder: Traversable) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The base name of every script."""
        found = (file.name for part in FOLDERS if (at := self._folder / part).is_dir() for file in at.iterdir())
        return sorted(name.removesuffix(".lua") for name in found if name.endswith(".lua"))

    def text(self, name: str) -> str:
        """The whole text of one script. Raises ``ScriptError``."""
        included: dict[str, str] = {}
        body = self._expand(name, self._script(name), (name,), included)
        whole = "".join([*included.values(), body])
        return constants(whole) + whole

    def _expand(self, name: str, text: str, chain: tuple[str, ...], included: dict[str, str]) -> str:
        """``text`` without its include lines; what they name goes into ``included``, in the order it is needed."""
        wanted = INCLUDE.findall(text)
        for one in wanted:
            if wanted.count(one) > 1:
                raise ScriptError(f"{name} includes {one} twice")
            if one in chain:
                raise ScriptError(f"{' -> '.join((*chain, one))} is a circle of includes")
            if one not in included:
                part = self._expand(one, self._include(one, name), (*chain, one), included)
                included[one] = part
        return INCLUDE.sub("", text)

    def _script(self, name: str) -> str:
        for part in FOLDERS:
            if (file := self._folder / part / f"{name}.lua").is_file():
                return file.read_text("utf-8")
        raise ScriptError(f"there is no script {name}")

    def _include(self, name: str, by: str) -> str:
        file = self._folder / "include" / f"{name}.lua"
        if not file.is_file():
            raise ScriptError(f"{by} includes {name}, which there is not")
        return file.read_text("utf-8")


def constants(text: str) -> str:
    """The Lua lines that define what ``text`` uses of the names that Python owns. Raises ``ScriptError``."""
    lines = []
    if used := sorted(set(KEY.findall(text))):
        if unknown := [name for name in used if name not in KEYS]:
            raise ScriptError(f"there is no key {', '.join(unknown)}")
        lines.append(f"local keys = {{ {', '.join(f'{name} = {_key(KEYS[name])}' for name in used)} }}")
    if "TERMINAL_STATUSES" in text:
        members = ", ".join(f"{status} = true" for status in sorted(TERMINAL_STATUSES))
        lines.append(f"local TERMINAL_STATUSES = {{ {members} }}")
    if "RANKS" in text:
        lines.append(f"local RANKS = {{ {', '.join(map(_quoted, RANKS.values()))} }}")
    if "HISTOGRAM_BOUNDS" in text:
        lines.append(f"local HISTOGRAM_BOUNDS = {{ {', '.join(map(str, HISTOGRAM_BOUNDS))} }}")
    return "".join(f"{line}\n" for line in lines)


def _key(key: Key) -> str:
    """A key in Lua: its name, or a function of its variable parts."""
    head, *rest = key.pieces
    if not rest:
        return _quoted(head)
    names = [f"part{i}" for i in range(1, len(rest) + 1)]
    parts = [_quoted(head)]
    for name, piece in zip(names, rest, strict=True):
        parts += [name, _quoted(piece)] if piece else [name]
    return f"function({', '.join(names)}) return {' .. '.join(parts)} end"


def _quoted(text: str) -> str:
    return "'" + "".join(char if char.isprintable() and char not in "'\\" else f"\\{ord(char)}" for char in text) + "'"


_loader: Final = ScriptLoader(resources.files("shared") / "lua")


def script_names() -> list[str]:
    """The base name of every script, for instance ``submit``."""
    return _loader.names()


@cache
def script_text(name: str) -> str:
    """The whole text of one script, as Redis gets it."""
    return _loader.text(name)


@cache
def script_digest(name: str) -> str:
    """The SHA-1 by which Redis knows a script."""
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs scripts by digest, and by text where Redis does not know them (after a restart)."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def run(self, name: str, *args: str | bytes | int | float) -> Any:
        """The script's reply. A call may reach Redis twice: every script is written for that."""
        with store_errors():
            try:
                return await self._redis.evalsha(script_digest(name), 0, *args)
            except NoScriptError:
                # Not SCRIPT LOAD and the digest again: Redis may restart between the two.
                return await self._redis.eval(script_text(name), 0, *args)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """``["a", "1", ...]`` as a script's JSON has a hash -> ``{"a": "1", ...}``; of an empty one it has ``{}``."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}


Hash = Annotated[dict[str, str], BeforeValidator(pairs)]
"""A hash in a script's JSON."""
Names = Annotated[tuple[str, ...], BeforeValidator(tuple)]
"""A list in a script's JSON, which has ``{}`` for an empty one."""
