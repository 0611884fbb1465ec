"""What vLLM's kernels are launched with: files by GPU, which vLLM passes over without a word if their name is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.vllm.make_model import FULL
from worker.engines.deepseek_ocr import CARD
from worker.engines.vllm_host import config
from worker.engines.vllm_host.settings import VllmSettings

FILES = sorted((CARD.kernel_settings or Path()).iterdir())
LAUNCH = {"BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "SPLIT_K", "num_warps", "num_stages"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_experts_settings_are_of_this_model_and_whole(file: Path) -> None:
    shape = f"E={FULL['n_routed_experts']},N={FULL['moe_intermediate_size']},device_name="
    assert file.name.startswith(shape)
    assert file.suffix == ".json"
    by_batch = json.loads(file.read_text("utf-8"))
    assert [int(batch) for batch in by_batch] == sorted(int(batch) for batch in by_batch)
    assert all(set(settings) == LAUNCH for settings in by_batch.values())


@pytest.mark.parametrize("given", [None, "/elsewhere"])
def test_vllm_is_shown_them_unless_an_operator_names_others(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    assert FILES
    monkeypatch.setattr(os, "environ", {"VLLM_TUNED_CONFIG_FOLDER": given} if given else {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    config.environment(VllmSettings(_env_file=None), CARD)
    assert os.environ["VLLM_TUNED_CONFIG_FOLDER"] == (given or str(CARD.kernel_settings))
    config.remove_sockets_folder()
