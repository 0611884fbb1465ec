"""When pages are admitted, and how tokens are sent together."""

import random
from types import SimpleNamespace

import pytest

from tests.vllm.conftest import page
from worker.engines.vllm_host import launch
from worker.engines.vllm_host.scheduler import SHARE, AdmissionGroups, OutputBatches

BUSY = 8 * SHARE


@pytest.mark.parametrize("running", [0, 1, BUSY - 1])
def test_a_page_does_not_wait_in_an_engine_with_few(running):
    assert AdmissionGroups(8, 0.4).due(1, 512 - running, running, 0.0)


def test_a_page_waits_for_company_in_a_busy_engine_but_not_for_long():
    groups = AdmissionGroups(8, 0.4)
    assert not groups.due(1, 100, BUSY, 10.0)
    assert not groups.due(7, 100, BUSY, 10.39)
    assert groups.due(7, 100, BUSY, 10.4)
    assert not groups.due(7, 100, BUSY, 10.5), "the wait begins anew for those who come after"


def test_a_complete_group_goes_at_once():
    assert AdmissionGroups(8, 0.4).due(8, 100, BUSY, 0.0)
    assert not AdmissionGroups(8, 0.4).due(50, 7, BUSY, 0.0), "eight need eight slots"


def test_the_wait_is_forgotten_when_there_is_nobody_left_to_wait():
    groups = AdmissionGroups(8, 0.4)
    assert not groups.due(1, 100, BUSY, 10.0)
    assert groups.due(0, 100, BUSY, 10.1)
    assert not groups.due(1, 100, BUSY, 10.45)


def test_what_waits_is_admitted_after_half_a_second_at_most_whatever_comes():
    rng, groups, waiting, since, now = random.Random(1), AdmissionGroups(8, 0.4), 0, None, 0.0
    for _ in range(20_000):
        now += 0.02
        arrived = rng.random() < 0.2
        waiting += arrived
        since = now if arrived and since is None else since
        if groups.due(waiting, 512, BUSY, now):
            waiting, since = 0, None
        assert since is None or now - since < 0.45


def output(request_id="a", ids=(1,), finish=None, logprobs=None):
    return SimpleNamespace(
        request_id=request_id, new_token_ids=list(ids), finish_reason=finish, new_logprobs=logprobs,
        new_prompt_logprobs_tensors=None, events=None,
    )  # fmt: skip


def sent(batches, *steps):
    return [[(out.request_id, out.new_token_ids) for out in batches.ready(step)] for step in steps]


def test_the_first_token_and_the_last_go_at_once_and_those_between_four_at_a_time():
    steps = [[output(ids=[i])] for i in range(1, 9)]
    end = [output(ids=[9], finish="stop")]
    assert sent(OutputBatches(4), *steps, end) == [[("a", [1])], [], [], [], [("a", [2, 3, 4, 5])], [], [], [],
                                                   [("a", [6, 7, 8, 9])]]  # fmt: skip


def test_requests_do_not_mix_and_nothing_is_lost():
    rng, batches, made, got = random.Random(2), OutputBatches(4), {}, {}
    for step in range(400):
        outs = []
        for name in "abcdef":
            if rng.random() < 0.7:
                ends = rng.random() < 0.05
                outs.append(output(name, [step], finish="stop" if ends else None))
                made.setdefault(name, []).append(step)
        for out in batches.ready(outs):
            got.setdefault(out.request_id, []).extend(out.new_token_ids)
    for name, tokens in made.items():
        assert tokens[: len(got[name])] == got[name]
        assert len(tokens) - len(got[name]) < 4


def test_a_request_that_is_aborted_leaves_nothing_to_its_successor():
    batches = OutputBatches(4)
    sent(batches, [output(ids=[1])], [output(ids=[2])])
    batches.forget(["a"])
    assert sent(batches, [output(ids=[7])]) == [[("a", [7])]]


def test_an_output_with_more_than_tokens_is_not_held():
    batches = OutputBatches(4)
    assert sent(batches, [output(ids=[1])], [output(ids=[2], logprobs=object())]) == [[("a", [1])], [("a", [2])]]


def test_the_engine_runs_our_scheduler(host):
    config = host.engine._vllm.vllm_config.scheduler_config
    assert config.scheduler_cls == launch.SCHEDULERS[bool(config.async_scheduling)]
    with host.saying("a b c d e f g h"):
        assert host.read(page())[1].markdown == "a b c d e f g h"
