"""The digest of what decides what a worker reads: it changes with what changes the text, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.contract.worker_status import DIGEST_CHARACTERS, EngineStatus
from worker.engines.cpu.settings import CpuSettings
from worker.engines.vllm_host.model_files import WINDOW_BYTES, WINDOWS, sampled_digests
from worker.engines.vllm_host.settings import VllmSettings
from worker.reader import reader_digest
from worker.settings import WorkerSettings

ENGINE = EngineStatus(name="instant", model="a model", version="1", slots=8)


def digest(engine: EngineStatus = ENGINE, **settings: Any) -> str:
    return reader_digest(engine, WorkerSettings(_env_file=None, **{"engine": "instant", **settings}))


@pytest.mark.parametrize("other", [{"name": "cpu"}, {"model": "another"}, {"version": "2"}])
def test_another_engine_is_another_reader(other: dict[str, str]) -> None:
    assert len(digest()) == DIGEST_CHARACTERS
    assert digest(replace(ENGINE, **other)) != digest()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["render_dpi", "render_max_side", "page_image_quality"])
def test_what_a_picture_is_like_changes_it(name: str) -> None:
    assert digest(ENGINE, **{name: 90}) != digest()


def test_what_only_changes_how_fast_it_is_does_not() -> None:
    same = {digest(pages_in_flight=3), digest(render_processes=1), digest(page_timeout=5.0), digest(lease=2.0)}
    busy = EngineStatus(name="instant", model="a model", version="1", slots=1, state="busy", metrics={"reading": 3})
    assert same | {digest(busy)} == {digest()}


def test_an_engines_own_settings_change_it_unless_they_are_operational(tmp_path: Path) -> None:
    assert CpuSettings(_env_file=None, cpu_threads=3).facts_of_reading() == {}
    facts = VllmSettings(_env_file=None, model_path=str(tmp_path)).facts_of_reading()
    assert set(facts) == {"max_model_len", "vllm_args", "files"}


def test_a_models_files_are_told_apart_wherever_they_lie(tmp_path: Path) -> None:
    weights = bytes(4 * WINDOWS * WINDOW_BYTES)
    changed = weights[: len(weights) // 2] + b"\1" + weights[len(weights) // 2 + 1 :]
    found = []
    for at, content in enumerate((weights, weights, changed, weights[:-1])):
        folder = tmp_path / str(at)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
        (folder / "config.json").write_text("{}")
        found.append(sampled_digests(folder))
    assert found[0] == found[1]
    assert found[0] not in found[2:]
