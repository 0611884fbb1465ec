"""The running stack: supervisord and everything under it, started once and stopped for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local.failure import Failure
from deploy.local.folder import ROOT, Folder
from deploy.local.programs import Plan, supervisord_config
from deploy.local.signals import Signals
from shared.process import adopt_orphans

POLL_SECONDS = 0.05
ORPHAN_SECONDS = 5.0


class LocalStack:
    def __init__(self, plan: Plan, folder: Folder) -> None:
        self.plan, self.folder = plan, folder
        folder.write_store_url(plan.store_url)
        self._errors = folder.log("supervisord-errors")
        adopt_orphans()
        folder.journal.unlink(missing_ok=True)
        folder.config.touch(mode=0o600)
        folder.config.write_text(supervisord_config(plan, folder))
        self._supervisord = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start supervisord in its own session, so that the terminal's Ctrl-C reaches the launcher alone."""
        command = [sys.executable, "-m", "deploy.local.supervise", str(os.getpid()), str(self.folder.config)]
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                command + ([str(self.folder.path)] if self.folder.temporary else []),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                pass_fds=[self.folder.lock],
            )

    def check(self) -> None:
        """Raise ``Failure`` if supervisord itself has ended."""
        if (code := self._supervisord.poll()) is not None:
            output = self._errors.read_text(errors="replace").strip().splitlines()[-1:] or [f"exit status {code}"]
            raise Failure(f"supervisord has ended: {output[0]}")

    def kill(self) -> None:
        """Stop everything at once: nothing that runs is to be kept."""
        self._supervisord.kill()
        self._supervisord.wait()
        _kill_children()

    def stop(self, signals: Signals) -> None:
        """Stop everything in order; at once after another signal, or when the time is up."""
        limit = len(signals.received) + 1
        deadline = time.monotonic() + self.plan.stop_seconds + 10
        self._supervisord.terminate()
        while self._supervisord.poll() is None and time.monotonic() < deadline and len(signals.received) < limit:
            time.sleep(POLL_SECONDS)
        self._supervisord.kill()
        self._supervisord.wait()
        if len(signals.received) < limit:
            _wait_for_children(ORPHAN_SECONDS)
        _kill_children()


def _children() -> Iterator[int]:
    """The pids of this process's children, adopted ones included."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid():
            yield int(stat.parent.name)


def _reap() -> bool:
    """Collect a child that has ended, or wait a moment; false when there is none left."""
    try:
        if os.waitpid(-1, os.WNOHANG) == (0, 0):
            time.sleep(POLL_SECONDS)
    except ChildProcessError:
        return False
    return True


def _wait_for_children(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _reap():
        pass


def _kill_children() -> None:
    """Kill until no child is left: the children of killed processes are adopted."""
    while _reap():
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
