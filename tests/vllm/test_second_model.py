"""A model is added to vLLM's host by a folder of two files: ``second_model``."""

from shared.contract.document import PageStatus
from tests.vllm.conftest import TEST_ARGS, hosted, page
from worker.engines.deepseek_ocr import CARD


def test_a_second_model_reads_pages_through_the_same_host():
    args = {**TEST_ARGS, "logits_processors": ["ocr_test_engine:ForceIds"]}
    with hosted("tests.vllm.second_model", vllm_args=args) as host:
        tokenizer = host.engine.model.tokenizer
        ids = [*tokenizer.encode("Plain words, no markup.", add_special_tokens=False), tokenizer.eos_token_id]
        plain = host.engine.model.sampling
        host.engine.model.sampling = lambda attempt: {**plain(attempt), "extra_args": {"force_ids": ids}}
        pieces, read = host.read(page(1, 700, 900))
        info = host.engine.describe()
    assert "".join(pieces) == read.markdown == "Plain words, no markup."
    assert (read.status, read.attempts, read.blocks) == (PageStatus.OK, 1, ())
    assert (info.name, info.model, info.modes, info.prompts) == ("second", "somebody/second", (), False)
    assert CARD.engine != info.name
