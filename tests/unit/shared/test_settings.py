from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import Settings, explain


def test_vllm_args_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ARGS", '{"max_num_seqs": 8}')
    assert Settings(_env_file=None).vllm_args == {"max_num_seqs": 8}


@pytest.mark.parametrize("value", ["{bad", "[1]", ""])
def test_what_is_no_json_object_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VLLM_ARGS", value)
    with pytest.raises(ValidationError) as raised:
        Settings(_env_file=None)
    assert explain(raised.value).startswith("settings: vllm_args: ")
    assert "\n" not in explain(raised.value)
