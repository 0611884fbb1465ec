"""The n-gram rule in every form it is computed in, against the reference rule, on random sequences that loop."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
import vllm.exceptions

from worker.engines.vllm_host import ngram_rows
from worker.engines.vllm_host.ngram import WHITELIST, Rule, banned, rule_of
from worker.engines.vllm_host.ngram_rows import RuleRows

SLOTS, MAX_LEN, VOCABULARY = 8, 400, 50


class TokenBatch:
    """``SLOTS`` requests in random slots, with rules and outputs such that many have something to ban."""

    def __init__(self, rng: random.Random) -> None:
        self.tokens = torch.full((SLOTS, MAX_LEN), VOCABULARY - 1, dtype=torch.int32)
        self.prompt_len, self.total_len = torch.zeros(SLOTS, dtype=torch.int32), torch.zeros(SLOTS, dtype=torch.int32)
        self.rules: list[Rule | None] = []
        self.outputs: list[list[int]] = []
        for slot in range(SLOTS):
            self.outputs.append(output := looping(rng))
            prompt = rng.randint(1, 20)
            self.tokens[slot, prompt : prompt + len(output)] = torch.tensor(output, dtype=torch.int32)
            self.prompt_len[slot], self.total_len[slot] = prompt, prompt + len(output)
            self.rules.append(a_rule(rng))
        self.slots = torch.tensor(rng.sample(range(SLOTS), SLOTS), dtype=torch.int32)

    def expected(self) -> list[set[int]]:
        found = []
        for slot in self.slots.tolist():
            rule = self.rules[slot]
            wanted = banned(self.outputs[slot], rule.size, rule.window) if rule else set()
            found.append(wanted - set(rule.whitelist if rule else ()))
        return found

    def shorten_to(self, total_len: torch.Tensor) -> None:
        self.total_len = total_len
        lengths = zip(self.prompt_len.tolist(), total_len.tolist(), strict=True)
        self.outputs = [self.tokens[slot, begin:end].tolist() for slot, (begin, end) in enumerate(lengths)]

    def params(self, slot: int) -> SimpleNamespace:
        rule = self.rules[slot]
        extra = rule and {
            "ngram_size": rule.size, "window_size": rule.window, "whitelist_token_ids": list(rule.whitelist),
        }  # fmt: skip
        return SimpleNamespace(extra_args=extra)


def looping(rng: random.Random) -> list[int]:
    letters, period = rng.randint(1, 4), rng.randint(1, 40)
    loop = [rng.randrange(letters) for _ in range(period)]
    return [loop[i % period] if rng.random() < 0.98 else rng.randrange(letters) for i in range(rng.randint(0, 300))]


def a_rule(rng: random.Random) -> Rule | None:
    size = rng.choice([None, 1, 2, 3, 5, 20, 30])
    return size and Rule(size, rng.choice([1, 5, 50, 90, 256]), tuple(rng.sample(range(4), rng.randint(0, 2))))


def found(logits: torch.Tensor) -> list[set[int]]:
    return [set(row.isinf().nonzero().flatten().tolist()) for row in logits]


def rows_of(batch: TokenBatch) -> RuleRows:
    rows = RuleRows(SLOTS, MAX_LEN, torch.device("cpu"))
    for slot in range(SLOTS):
        assert rows.add_request(slot, batch.params(slot)) == (batch.rules[slot] is not None)
    rows.apply_staged_writes()
    return rows


def test_the_twin_bans_what_the_reference_bans_on_ten_thousand_sequences() -> None:
    rng, bans = random.Random(3), 0
    for _ in range(10_000 // SLOTS):
        batch = TokenBatch(rng)
        logits = torch.zeros(SLOTS, VOCABULARY)
        slots_np = batch.slots.numpy()
        rows_of(batch).apply(logits, batch.slots, slots_np, batch.tokens, batch.prompt_len, batch.total_len)
        assert found(logits) == batch.expected()
        bans += sum(map(bool, batch.expected()))
    assert bans > 2_000


KERNEL = """
import os, random, sys, torch
os.environ["TRITON_INTERPRET"] = "1"
from tests.vllm.test_ngram import MAX_LEN, SLOTS, VOCABULARY, TokenBatch, found, rows_of
from worker.engines.vllm_host.ngram_kernel import ban

rng, bans = random.Random(int(sys.argv[1])), 0
history, copied = torch.zeros((SLOTS, MAX_LEN), dtype=torch.int32), torch.zeros((SLOTS, 2), dtype=torch.int32)
for number in range(int(sys.argv[2]) // SLOTS):
    batch = TokenBatch(rng)
    rules = rows_of(batch)._rules
    rules[:, 2] = number + 1  # new requests in slots that hold what the batch before left there
    whole = batch.total_len.clone()
    for left in (7, 1, 0):  # the output grows: only what is new is copied
        batch.shorten_to(torch.maximum(whole - left, batch.prompt_len))
        logits = torch.zeros(SLOTS, VOCABULARY)
        ban(logits, batch.slots, rules, batch.tokens, batch.prompt_len, batch.total_len, history, copied)
        assert found(logits) == batch.expected(), (number, left)
    bans += sum(map(bool, batch.expected()))
print("rows with a ban:", bans)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: it has no backend for CPUs")
def test_the_kernel_bans_what_the_reference_bans() -> None:
    """By Triton's interpreter, in a process of its own: it is chosen when Triton is imported."""
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, "4", os.environ.get("OCR_TEST_SEQUENCES", "1000")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.rpartition(":")[2]) > 200


def test_a_slot_forgets_the_rule_of_the_request_before() -> None:
    rows = RuleRows(1, 8, torch.device("cpu"))
    rule = SimpleNamespace(extra_args={"ngram_size": 2, "window_size": 8, "whitelist_token_ids": [3]})
    for params in (rule, SimpleNamespace(extra_args=None)):
        rows.add_request(0, params)
        rows.apply_staged_writes()
    assert rows._rules[0].tolist() == [0, 0, 2, *[ngram_rows.NO_TOKEN] * WHITELIST]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what vLLM imports
def test_the_sampler_copies_its_requests_only_after_one_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.engines.vllm_host.ngram_sampler import NGramSampler, Sampler

    copies: list[int] = []
    monkeypatch.setattr(Sampler, "add_request", lambda *_: None)
    monkeypatch.setattr(Sampler, "apply_staged_writes", lambda self: copies.append(self._rows._staged[0, 2]))
    sampler = object.__new__(NGramSampler)  # vLLM's own states want a GPU
    sampler._rows = RuleRows(1, 8, torch.device("cpu"))
    sampler.apply_staged_writes()
    for _ in range(2):
        sampler.add_request(0, 1, SimpleNamespace(extra_args=None))
        for _ in range(3):
            sampler.apply_staged_writes()
    assert copies == [0, 1, 2]
    assert sampler._rows._rules[0, 2] == 2


@pytest.mark.parametrize(
    "extra",
    [
        {"ngram_size": 0}, {"ngram_size": "3"}, {"ngram_size": 3, "window_size": -1},
        {"ngram_size": 3, "whitelist_token_ids": [1, 2, 3, 4, 5]},
    ],
)  # fmt: skip
def test_arguments_that_make_no_rule_are_refused(extra: dict) -> None:
    with pytest.raises(ValueError, match=r"ngram_size|whitelist"):
        rule_of(extra)


def test_model_runner_v2_takes_the_rule_as_its_logits_processor() -> None:
    """vLLM's own loader, state and context, on the CPU: what its V2 runner does for every step."""
    from vllm.v1.worker.gpu.sample.logits_processor import (
        LogitsContext,
        LogitsProcRequestState,
        build_custom_logits_processors_params_validator,
    )  # fmt: skip

    from worker.engines.vllm_host.model_runner import V2_PROCESSOR
    from worker.engines.vllm_host.ngram_v2 import NoRepeatNGram

    validate = build_custom_logits_processors_params_validator([V2_PROCESSOR])
    with pytest.raises(vllm.exceptions.VLLMValidationError, match="positive"):
        validate(SimpleNamespace(extra_args={"ngram_size": 0}))
    batch = TokenBatch(random.Random(5))
    gpu = lambda tensor: SimpleNamespace(gpu=tensor)  # noqa: E731
    state = LogitsProcRequestState(
        torch.device("cpu"), SLOTS, VOCABULARY, gpu(batch.tokens), gpu(batch.prompt_len), gpu(batch.prompt_len),
        gpu(batch.total_len),
    )  # fmt: skip
    processor = NoRepeatNGram(SimpleNamespace(model_config=SimpleNamespace(max_model_len=MAX_LEN)), state)
    for slot in range(SLOTS):
        processor.add_request(slot, batch.params(slot))
    processor.apply_staged_writes()
    nothing = torch.zeros(SLOTS, dtype=torch.int32)
    context = LogitsContext(
        batch.slots, batch.slots, batch.slots.numpy(), nothing, nothing, nothing, batch.total_len.numpy()
    )
    assert found(processor.apply(torch.zeros(SLOTS, VOCABULARY), context)) == batch.expected()
