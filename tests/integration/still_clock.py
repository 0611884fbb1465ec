"""A clock for scripts that stands still: moments are compared exactly, on the very edge of a limit."""

from __future__ import annotations

import hashlib
import re

import pytest

from shared.store import scripts
from tools.valkey import Valkey

DAY = 24 * 3600
MIDNIGHT = 21_990 * DAY  # of some day
RUNNING = re.compile(r"local function clock\(\)\n.*?\nend\n", re.DOTALL)
STANDING = "local function clock() return tonumber(redis.call('GET', 'clock')) end\n"


class StillClock:
    """Redis's clock as scripts see it, first half a second after a midnight. Expiry goes by the real one."""

    def __init__(self, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
        self._valkey = valkey
        plain = scripts.script_text

        def text(name: str) -> str:
            return RUNNING.sub(lambda _: STANDING, plain(name))

        def digest(name: str) -> str:
            return hashlib.sha1(text(name).encode(), usedforsecurity=False).hexdigest()

        monkeypatch.setattr(scripts, "script_text", text)
        monkeypatch.setattr(scripts, "script_digest", digest)
        self.set(MIDNIGHT + 0.5)

    def set(self, moment: float) -> float:
        """From now on it is this moment, in seconds since the epoch."""
        self._valkey.client.set("clock", repr(float(moment)))
        self.now = float(moment)
        return self.now

    def forward(self, seconds: float) -> float:
        return self.set(self.now + seconds)
