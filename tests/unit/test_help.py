"""``--help`` prints help and starts nothing, whatever is started by ``python -m``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.processes import environment

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "gateway", "gateway.keys", "worker", "worker.webhooks", "deploy.local", "deploy.local.key", "ocr_client.cli",
    "tools.settings_page", "tools.env_example", "tools.transcript", "tests.chaos", "benchmarks.soak",
    "benchmarks.service", "benchmarks.cpu_engine",
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_printed_and_nothing_is_started(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"], cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout.lower()
