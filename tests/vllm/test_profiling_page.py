"""The page vLLM measures itself with is one of ours, and the model's own processor is never loaded."""

import pytest
import torch
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.utils import group_and_batch_mm_kwargs
from vllm.transformers_utils.processors.deepseek_ocr import DeepseekOCRProcessor

from deepseek_ocr.modes import GUNDAM
from shared.contract.document import PageStatus
from tests.vllm.conftest import hosted, page
from tests.vllm.test_encoder import Model
from worker.engines.deepseek_ocr import encoder


@pytest.fixture
def no_processor(monkeypatch):
    """The engine's process is forked from this one, so it has none either."""

    def refuse(*_args, **_more):
        raise AssertionError("the model's own processor was loaded")

    monkeypatch.setattr(DeepseekOCRProcessor, "__init__", refuse)


def test_an_engine_starts_and_reads_without_the_models_own_processor(no_processor):
    with hosted() as host, host.saying("Hello."):
        assert host.read(page())[1].status == PageStatus.OK
        config = host.engine._vllm.vllm_config.model_config
        given = MULTIMODAL_REGISTRY.create_processor(config).apply()
        assert MULTIMODAL_REGISTRY.create_processor(config).info.get_mm_max_tokens_per_item(4096, {"image": 1}) == {
            "image": GUNDAM.max_tokens
        }
    # As vLLM's memory profiling does, which a CPU leaves out: a batch of this page, through the encoder.
    (item,) = given["mm_kwargs"]["image"]
    ((_, count, batch),) = group_and_batch_mm_kwargs([("image", item)] * 3, device=torch.device("cpu"))
    with torch.no_grad():
        model = Model().eval()
        encoded = encoder.embed(model, model.towers, 2, **batch)
    assert count == 3
    assert [len(tokens) for tokens in encoded] == [GUNDAM.max_tokens] * 3
