"""The programs of a local run, and what each gets in its environment."""

from __future__ import annotations

from pathlib import Path

from deploy.local.folder import Folder
from deploy.local.ports import LOOPBACK
from deploy.local.programs import LocalSettings, make_plan
from gateway.settings import GatewaySettings
from worker.settings import WorkerSettings


def test_secrets_do_not_enter_processes_that_have_no_use_for_them(tmp_path: Path) -> None:
    settings = LocalSettings(GatewaySettings(_env_file=None), WorkerSettings(_env_file=None))
    folder = Folder(tmp_path, temporary=False)
    try:
        plan = make_plan(settings, folder, LOOPBACK, 8000, once=False)
    finally:
        folder.close()
    emptied = {
        program.name: {name for name in ("API_KEYS", "WEBHOOK_SECRET") if program.environment.get(name) == ""}
        for program in plan.programs
    }
    assert emptied == {
        "valkey": set(),
        "gateway": set(),
        "worker": {"API_KEYS", "WEBHOOK_SECRET"},
        "webhooks": {"API_KEYS"},
        "flower": {"API_KEYS", "WEBHOOK_SECRET"},
    }
