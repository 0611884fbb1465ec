"""What keeps an engine from starting, each said in one line."""

import asyncio
import json
import os
from contextlib import aclosing
from pathlib import Path

import pytest
from PIL import ImageOps
from safetensors.torch import load_file, save_file
from vllm.platforms import current_platform

from deepseek_ocr.modes import GUNDAM
from deepseek_ocr.tokens import BOS
from shared.errors import EngineNotReady
from tests.vllm import make_model
from tests.vllm.conftest import TEST_ARGS, hosted, page, settings
from worker.engines.base import PageImage
from worker.engines.deepseek_ocr import CARD, checkpoint
from worker.engines.vllm_host import config, model_runner, self_test


def one_line(raised):
    assert "\n" not in str(raised.value)
    return str(raised.value)


REAL = {name: value for name, value in TEST_ARGS.items() if name != "load_format"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A model folder with weights under the names of the published checkpoint."""
    folder = tmp_path_factory.mktemp("weights")
    make_model.write(folder, make_model.packaged_tokenizer(), full_size=False, vocabulary=2000, weights=True)
    return folder


@pytest.fixture
def model(tmp_path, weights):
    """The same folder, to be harmed."""
    for file in weights.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def replace(file, content):
    file.unlink(missing_ok=True)
    file.write_bytes(content)


def refusal(folder, **more):
    with pytest.raises(EngineNotReady) as raised:
        checkpoint.check(folder, **more)
    return one_line(raised)


def test_a_folder_without_a_model_is_named_with_the_way_to_get_one(tmp_path):
    with pytest.raises(EngineNotReady) as raised, hosted(model_path=str(tmp_path)):
        pass
    assert f"{tmp_path} has no config.json" in one_line(raised)
    assert "hf download deepseek-ai/DeepSeek-OCR" in one_line(raised)


def test_a_model_of_another_architecture_is_refused(model):
    replace(model / "config.json", b'{"architectures": ["LlamaForCausalLM"]}')
    assert "LlamaForCausalLM" in refusal(model)


def test_a_configuration_that_is_not_json_is_refused(model):
    replace(model / "config.json", b"version https://git-lfs.github.com/spec/v1")
    assert "config.json is not JSON" in refusal(model)


def test_a_folder_without_weights_is_refused(model):
    (model / "model.safetensors").unlink()
    assert "no weights" in refusal(model)
    checkpoint.check(model, weights=False)


@pytest.mark.parametrize(
    "broken",
    [lambda whole: whole[:-1], lambda whole: whole[:100], lambda _: b"", lambda _: b"version https://git-lfs"],
    ids=["its end is missing", "its head is cut", "it is empty", "a pointer of git-lfs"],
)
def test_weights_that_are_not_whole_are_refused(model, broken):
    whole = (model / "model.safetensors").read_bytes()
    replace(model / "model.safetensors", broken(whole))
    assert "model.safetensors is not whole" in refusal(model)
    assert "hf download" in refusal(model)


def test_a_shard_that_the_index_names_is_missed(model):
    index = {"weight_map": {"lm_head.weight": "model-00001-of-000001.safetensors"}}
    replace(model / checkpoint.INDEX, json.dumps(index).encode())
    assert "model-00001-of-000001.safetensors is missing" in refusal(model)


async def odds(host, of):
    """What the model thinks of its first token: greedy choices of random weights may agree on any two pictures."""
    async with aclosing(host.outputs(of, GUNDAM, max_tokens=1, logprobs=5)) as outputs:
        (found,) = (await anext(outputs)).outputs[0].logprobs
    return {token: chance.logprob for token, chance in found.items()}


def test_the_checkpoints_weights_are_loaded_and_read_pages(weights):
    """vLLM itself refuses names it does not know, and weights that were named by nobody."""
    positive = page()
    negative = PageImage(1, ImageOps.invert(positive.image))  # as many tokens: only the picture tells them apart
    with hosted(model_path=str(weights), vllm_args=REAL) as host:
        first, second, again = (host.run(odds(host, of)) for of in (positive, negative, positive))
        assert first == again
        assert first != second


def test_what_failed_in_vllms_own_process_is_said(model):
    tensors = load_file(model / "model.safetensors")
    del tensors["model.projector.layers.bias"]
    (model / "model.safetensors").unlink()
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineNotReady) as raised, hosted(model_path=str(model), vllm_args=REAL):
        pass
    assert "vLLM cannot start: ValueError: " in one_line(raised)
    assert "projector.layers.bias" in one_line(raised)


def gpu(monkeypatch, used, total=80):
    memory = {"used": used << 30, "total": total << 30}
    monkeypatch.setattr("worker.engines.vllm_host.gpu.Gpu.memory", lambda _: memory)


def test_the_share_of_the_gpus_memory_leaves_room_for_what_vllm_does_not_count(monkeypatch):
    gpu(monkeypatch, used=40)
    assert config.memory_share(settings()) == pytest.approx(0.5 - config.HEADROOM / (80 << 30))


@pytest.mark.parametrize(("share", "total", "slots"), [(0.9, 80, 512), (0.5, 80, 256), (0.9, 24, 64), (0.5, 16, 64)])
def test_as_many_pages_are_read_at_once_as_the_memory_holds(monkeypatch, share, total, slots):
    gpu(monkeypatch, used=0, total=total)
    given = settings(max_num_seqs=None, gpu_memory_utilization=share)
    assert config.slots(given, CARD) == slots
    assert config.slots(settings(max_num_seqs=100), CARD) == 100


def test_a_gpu_whose_memory_others_hold_is_refused(monkeypatch):
    gpu(monkeypatch, used=41)
    with pytest.raises(EngineNotReady) as raised:
        config.memory_share(settings())
    assert "39.0 of 80.0 GiB free, GPU_MEMORY_UTILIZATION=0.5 asks for 40.0" in one_line(raised)


def test_a_machine_without_a_gpu_is_told_so(monkeypatch):
    monkeypatch.setattr(type(current_platform), "is_unspecified", lambda _: True)
    with pytest.raises(EngineNotReady) as raised, hosted(cuda_device="3"):
        pass
    assert one_line(raised).startswith("vLLM finds no GPU here that it can use (CUDA_DEVICE=3)")


def test_an_argument_vllm_does_not_have_is_refused():
    with pytest.raises(EngineNotReady) as raised, hosted(vllm_args={**TEST_ARGS, "no_such_argument": 1}):
        pass
    assert "no_such_argument" in one_line(raised)


def test_our_arguments_are_the_ones_that_matter():
    args = config.engine_args(settings(max_num_seqs=5), CARD)
    assert args["max_num_seqs"] == 5
    assert args["enable_prefix_caching"] is False
    assert args["mm_processor_cache_gb"] == 0
    assert args["limit_mm_per_prompt"] == {"image": 1}
    assert args["logits_processors"] == [*model_runner.logits_processors(), "ocr_test_engine:ForceIds"]


def test_the_processor_and_the_extension_are_where_vllm_will_look():
    from worker.engines.vllm_host import launch  # with vLLM, which wants its environment first

    for name in (
        model_runner.V1_PROCESSOR,
        model_runner.V2_PROCESSOR,
        *(path.rpartition(".")[0] for path in (config.EXTENSION, *launch.SCHEDULERS.values())),
    ):
        module = name.partition(":")[0]
        assert (Path(__file__).parents[2] / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("count", [0, 2])
def test_a_prompt_must_begin_with_one_bos(host, monkeypatch, count):
    plain, bos = host.engine.model.inputs.ids, host.engine.model.inputs.token(BOS)

    def ids(prompt, picture_tokens):
        """The BOS makes room or gives way to the newline after the picture: what follows stays where it was."""
        right = plain(prompt, picture_tokens)
        wrong = right[1 + picture_tokens :]
        return [bos if count else wrong[0], *right[1 : 1 + picture_tokens], *([bos] * (count - 1)), *wrong]

    monkeypatch.setattr(host.engine.model.inputs, "ids", ids)
    with pytest.raises(EngineNotReady, match="must begin with the token"):
        host.run(self_test.run(host.engine))


def test_a_tokenizer_without_the_models_tokens_is_refused():
    class Other:
        def encode(self, text, **_):
            return list(text.encode())

    from worker.engines.deepseek_ocr.inputs import Inputs

    with pytest.raises(ValueError, match="no token"):
        Inputs(Other(), 8192)


@pytest.fixture
def one_shape(host, monkeypatch):
    """The self-test reads one shape of page rather than all."""
    pages = host.engine.model.sample_pages()[:1]
    monkeypatch.setattr(host.engine.model, "sample_pages", lambda: pages)


def test_a_rule_that_does_not_reach_the_sampler_is_noticed(host, monkeypatch, one_shape):
    plain = host.engine.sampling
    monkeypatch.setattr(host.engine, "sampling", lambda *a, **m: plain(*a, **{**m, "extra_args": None}))
    with pytest.raises(EngineNotReady, match="n-gram rule does nothing"):
        host.run(self_test.run(host.engine))


def test_a_loop_that_is_not_noticed_keeps_the_engine_from_starting(host, monkeypatch, one_shape):
    class Asleep:
        def feed(self, ids, text):
            return False

    monkeypatch.setattr(host.engine.model, "guard", lambda **_: Asleep())
    with pytest.raises(EngineNotReady, match="not noticed"):
        host.run(self_test.run(host.engine))


def test_an_engine_that_does_not_answer_is_given_up(host, monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(self_test, "read_one", never)
    monkeypatch.setattr(self_test, "TIMEOUT_SECONDS", 0.1)
    with pytest.raises(EngineNotReady, match="did not answer"):
        host.run(self_test.run(host.engine))


def test_sockets_lie_in_a_folder_of_the_engines_own_and_go_with_it():
    with hosted() as host:
        folder = Path(os.environ[config.SOCKETS])
        assert any(path.is_socket() for path in folder.iterdir())
        assert host.engine.describe().state == "ready"
    assert not folder.exists()
