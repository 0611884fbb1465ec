"""What keeps an engine from starting, each said in one line."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from deepseek_ocr.tokens import BOS
from shared.errors import EngineNotReady
from tests.vllm.conftest import TEST_ARGS, hosted, settings
from worker.engines.deepseek import proof, start


def one_line(raised):
    assert "\n" not in str(raised.value)
    return str(raised.value)


def model_folder(folder, **changes):
    config = {"architectures": ["DeepseekOCRForCausalLM"], **changes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    return settings(model_path=str(folder))


def test_a_folder_without_a_model_is_named_with_the_way_to_get_one(tmp_path):
    with pytest.raises(EngineNotReady) as raised, hosted(model_path=str(tmp_path)):
        pass
    assert f"{tmp_path} has no config.json" in one_line(raised)
    assert "hf download deepseek-ai/DeepSeek-OCR" in one_line(raised)


def test_a_model_of_another_architecture_is_refused(tmp_path):
    values = model_folder(tmp_path, architectures=["LlamaForCausalLM"])
    with pytest.raises(EngineNotReady) as raised:
        start.check_files(values)
    assert "LlamaForCausalLM" in one_line(raised)


def test_a_folder_without_weights_is_refused(tmp_path):
    values = model_folder(tmp_path).model_copy(update={"vllm_args": {}})
    with pytest.raises(EngineNotReady) as raised:
        start.check_files(values)
    assert "no weights" in one_line(raised)


def test_an_argument_vllm_does_not_have_is_refused():
    with pytest.raises(EngineNotReady) as raised, hosted(vllm_args={**TEST_ARGS, "no_such_argument": 1}):
        pass
    assert "no_such_argument" in one_line(raised)


def test_our_arguments_are_the_ones_that_matter():
    args = start.engine_args(settings(max_num_seqs=5))
    assert args["max_num_seqs"] == 5
    assert args["enable_prefix_caching"] is False
    assert args["mm_processor_cache_gb"] == 0
    assert args["limit_mm_per_prompt"] == {"image": 1}
    assert args["logits_processors"] == [start.PROCESSOR, "ocr_test_engine:ForceIds"]


def test_the_processor_and_the_extension_are_where_vllm_will_look():
    for name in (start.PROCESSOR, start.EXTENSION.rpartition(".")[0]):
        module = name.partition(":")[0]
        assert (Path(__file__).parents[2] / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("count", [0, 2])
def test_a_prompt_must_begin_with_one_bos(host, monkeypatch, count):
    plain, bos = host.engine.inputs.ids, host.engine.inputs.token(BOS)

    def ids(prompt, picture_tokens):
        """The BOS makes room or gives way to the newline after the picture: what follows stays where it was."""
        right = plain(prompt, picture_tokens)
        wrong = right[1 + picture_tokens :]
        return [bos if count else wrong[0], *right[1 : 1 + picture_tokens], *([bos] * (count - 1)), *wrong]

    monkeypatch.setattr(host.engine.inputs, "ids", ids)
    with pytest.raises(EngineNotReady, match="must begin with the token"):
        host.run(proof.prove(host.engine))


def test_a_tokenizer_without_the_models_tokens_is_refused():
    class Other:
        def encode(self, text, **_):
            return list(text.encode())

    from worker.engines.deepseek.inputs import Inputs

    with pytest.raises(ValueError, match="no token"):
        Inputs(Other(), 8192)


@pytest.fixture
def one_shape(monkeypatch):
    """The proof reads one shape of page rather than all."""
    shapes = proof.shapes()[:1]
    monkeypatch.setattr(proof, "shapes", lambda: shapes)


def test_a_rule_that_does_not_reach_the_sampler_is_noticed(host, monkeypatch, one_shape):
    plain = host.engine.sampling
    monkeypatch.setattr(host.engine, "sampling", lambda *a, **m: plain(*a, **{**m, "extra_args": None}))
    with pytest.raises(EngineNotReady, match="n-gram rule does nothing"):
        host.run(proof.prove(host.engine))


def test_a_loop_that_is_not_noticed_keeps_the_engine_from_starting(host, monkeypatch, one_shape):
    class Asleep(proof.RepetitionGuard):
        def feed(self, ids):
            return False

    monkeypatch.setattr(proof, "RepetitionGuard", Asleep)
    with pytest.raises(EngineNotReady, match="not noticed"):
        host.run(proof.prove(host.engine))


def test_an_engine_that_does_not_answer_is_given_up(host, monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(proof, "read_one", never)
    monkeypatch.setattr(proof, "SECONDS", 0.1)
    with pytest.raises(EngineNotReady, match="did not answer"):
        host.run(proof.prove(host.engine))


def test_sockets_lie_in_a_folder_of_the_engines_own_and_go_with_it():
    with hosted() as host:
        folder = Path(os.environ[start.SOCKETS])
        assert any(path.is_socket() for path in folder.iterdir())
        assert host.engine.describe().state == "ready"
    assert not folder.exists()
