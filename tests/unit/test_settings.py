"""Settings by process: one ``.env`` for all, what is wrong in one line, and what is generated from the classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from gateway.settings import GatewaySettings
from shared.errors import EngineNotReady
from shared.setting_names import NAMES
from shared.settings import SharedSettings, explain
from tools.setting_names import PATH, SECTIONS, module, names
from worker.engines import load_engine
from worker.engines.instant import InstantSettings
from worker.engines.vllm_host.settings import VllmSettings
from worker.settings import EngineSettings, WorkerSettings
from worker.webhooks.settings import WebhookSettings

PROCESSES = (GatewaySettings, WorkerSettings, WebhookSettings)
SECRETS = "REDIS_URL", "API_KEYS", "WEBHOOK_SECRET"


class OtherSettings(EngineSettings):
    """As an engine brings them that does not come with the service."""

    engine_beams: int = Field(1, description="beams")


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_names_are_those_of_the_classes() -> None:
    assert PATH.read_text() == module(), "run: python -m tools.setting_names"
    assert len(names()) == len(set(names())), "a name has two meanings"


@pytest.mark.parametrize("kind", [*SECTIONS.values(), *PROCESSES])
def test_one_file_is_for_all_processes(kind: type[SharedSettings], env_file: Path) -> None:
    env_file.write_text("PORT=9000\nlease=3\nMODEL_PATH=/m\nINSTANT_SECONDS=2\nWEBHOOK_CA_FILE=/ca\nCPU_THREADS=2\n")
    assert kind(_env_file=env_file)


@pytest.mark.parametrize("kind", [*SECTIONS.values(), *PROCESSES])
def test_a_name_that_no_process_knows_is_refused(kind: type[SharedSettings], env_file: Path) -> None:
    env_file.write_text("RESULT_TLL=1\n")
    with pytest.raises(ValidationError) as raised:
        kind(_env_file=env_file)
    assert explain(raised.value) == "settings: result_tll: Extra inputs are not permitted"


def test_an_engine_from_elsewhere_brings_its_own(env_file: Path) -> None:
    env_file.write_text("ENGINE_BEAMS=4\nPORT=9000\nENGINE=some.module:load\n")
    for kind in PROCESSES:
        assert kind(_env_file=env_file)
    assert OtherSettings(_env_file=env_file).engine_beams == 4
    with pytest.raises(ValidationError, match="engine_beams"):  # where that engine is not the one that runs
        InstantSettings(_env_file=env_file)


async def test_wrong_settings_of_the_engine_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANT_SECONDS", "-1")
    with pytest.raises(EngineNotReady, match=r"^settings: instant_seconds: ") as raised:
        await load_engine(WorkerSettings(_env_file=None, engine="instant"))
    assert "\n" not in raised.value.detail


def test_no_process_reads_a_secret_it_does_not_use() -> None:
    found = {kind: {name for name in SECRETS if name.lower() in kind.model_fields} for kind in PROCESSES}
    assert found == {
        GatewaySettings: {"REDIS_URL", "API_KEYS", "WEBHOOK_SECRET"},
        WorkerSettings: {"REDIS_URL"},
        WebhookSettings: {"REDIS_URL", "WEBHOOK_SECRET"},
    }


def test_names_with_the_engines_prefix_are_known_or_an_engines() -> None:
    assert {name for name in NAMES if name.startswith("engine_")} <= set(VllmSettings.model_fields)


def test_vllm_args_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ARGS", '{"max_num_seqs": 8}')
    assert VllmSettings(_env_file=None).vllm_args == {"max_num_seqs": 8}


@pytest.mark.parametrize("value", ["{bad", "[1]", ""])
def test_what_is_no_json_object_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VLLM_ARGS", value)
    with pytest.raises(ValidationError) as raised:
        VllmSettings(_env_file=None)
    assert explain(raised.value).startswith("settings: vllm_args: ")
    assert "\n" not in explain(raised.value)
