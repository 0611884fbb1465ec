"""What is set up before vLLM is imported."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from worker.engines.vllm_host.config import SOCKETS, make_sockets_folder, remove_sockets_folder


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_sockets_folder_is_closed_to_others_and_goes(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sockets_folder()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (temp, 0o700)
    (folder / "socket").touch()
    monkeypatch.setenv(SOCKETS, str(folder))
    remove_sockets_folder()
    assert list(temp.iterdir()) == []


def test_what_a_killed_engine_left_goes_and_what_a_living_one_has_stays(temp: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    living = make_sockets_folder().name
    _, _, pid, began, _ = living.split("-")
    earlier = f"ocr-engine-{pid}-{int(began) - 1}-a"  # a container's first process has the same id every time
    for name in (f"ocr-engine-{gone.pid}-1-a", earlier, "ocr-engine-", "ocr-engine-x-y", "other"):
        (temp / name).mkdir()
    ours = make_sockets_folder().name
    assert {path.name for path in temp.iterdir()} == {living, ours, "ocr-engine-", "ocr-engine-x-y", "other"}
