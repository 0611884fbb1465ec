"""Processes that end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from shared.process import bound_to_parent
from tools.valkey import ROOT, wait_until

STARTS_A_SERVER = """
import sys, tempfile, time
from pathlib import Path
from tools.processes import Gateway
from tools.valkey import Valkey
folder = Path(sys.argv[1])
valkey = Valkey(folder)
print(valkey.process.pid, Gateway(folder, valkey.url).pid, flush=True)
time.sleep(60)
"""


def runs(pid: int) -> bool:
    """Whether the process does anything yet; where nobody reaps it, its entry may stay."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_what_a_test_has_started_ends_when_the_test_run_is_ended(number: signal.Signals, tmp_path: object) -> None:
    command = [sys.executable, "-c", STARTS_A_SERVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(runs, pids))
        os.kill(run.pid, number)
        wait_until(lambda: not any(map(runs, pids)), what="the end of server and gateway")


def test_a_bound_command_is_the_command_itself_with_its_own_exit_code() -> None:
    script = "import os, sys; print(os.getpid()); sys.exit(7)"
    command = bound_to_parent([sys.executable, "-c", script], signal.SIGTERM)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert int(run.stdout.read()) == run.pid
    assert run.returncode == 7


FROZEN = """
import gc, sys
from shared.process import freeze_objects

class Node:
    def __init__(self):
        self.itself = self

kept = [[] for _ in range(200_000)]
gc.collect()
if sys.argv[1] == "frozen":
    freeze_objects()
jobs = [Node() for _ in range(1000)]
gc.collect(1)  # they have lived for a while: now they are of the oldest generation
del jobs
for _ in range(200):
    made = [[] for _ in range(1000)]
print(sum(type(found) is Node for found in gc.get_objects()))
"""


@pytest.mark.parametrize(("way", "left"), [("frozen", 0), ("as it is", 1000)])
def test_what_jobs_leave_is_collected_however_much_a_process_keeps(way: str, left: int) -> None:
    done = subprocess.run([sys.executable, "-c", FROZEN, way], capture_output=True, text=True, check=True)
    assert int(done.stdout) == left
