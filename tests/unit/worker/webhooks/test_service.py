"""A sender's service: what is due goes to the queue without being asked for, and stops going as it drains."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contract.job import WebhookTarget
from shared.store.jobs import Store
from shared.store.scripts import script_digest
from shared.store.webhooks import QUEUE, Lease, WebhookStore
from tests.chaos.proxy import PASS, Fate, StoreProxy, pass_all
from tests.conftest import make_settings
from tests.settings import Settings
from tools.receiver import OK, Answer, ReceivedCall, Receiver
from tools.uploads import submit
from tools.valkey import Valkey
from worker.outcome import TaskState
from worker.webhooks.service import WebhookService


@pytest.fixture
async def service(valkey: Valkey, tmp_path: Path) -> AsyncIterator[WebhookService]:
    settings = local_settings(valkey.url, heartbeat_file=tmp_path / "beat")
    made = await WebhookService.start(settings, lambda: pytest.fail("a loop has ended"))
    yield made
    await made.close()


async def due(store: Store, url: str) -> None:
    target = WebhookTarget(url=url, events=("job.cancelled",))
    await store.cancel(await submit(store, b"x", "application/pdf", webhook=target))


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(20):
        while not (answer := condition()):
            await asyncio.sleep(0.02)
    return answer


async def test_what_is_due_is_queued_sent_once_and_the_file_vouches_for_the_loop(
    service: WebhookService, store: Store, valkey: Valkey, tmp_path: Path
) -> None:
    receiver = Receiver()
    try:
        await due(store, f"{receiver.url}/hook")
        await until(lambda: valkey.client.llen(QUEUE) == 1)
        (lease,) = [Lease(name, token) for name, token in leases(valkey)]
        assert (await service.send(lease)).state is TaskState.SUCCEEDED
        assert (await service.send(lease)).state is TaskState.UNCHANGED
        assert len(receiver.calls) == 1
        await until((tmp_path / "beat").exists)
    finally:
        receiver.close()


async def test_a_draining_sender_takes_nothing_more(service: WebhookService, store: Store, valkey: Valkey) -> None:
    service.drain()
    await asyncio.sleep(1.2)  # the look that was under way, and one more
    await due(store, "http://127.0.0.1:1/hook")
    await asyncio.sleep(1.2)
    assert valkey.client.llen(QUEUE) == 0


async def test_an_outcome_waits_for_a_store_that_refuses_while_the_dispatcher_says_that_it_waits(
    store: Store, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await StoreProxy(valkey.port).start()
    refused = Counter[bytes]()

    def refuse(request: list[bytes]) -> Fate:
        if request[0] != b"EVALSHA":
            return PASS
        refused[request[1]] += 1
        return Fate(refuse=b"-MISCONF the disk is full\r\n")

    def answer(_call: ReceivedCall, _number: int) -> Answer:
        proxy.rule = refuse
        return OK

    receiver = Receiver(answer)
    service = await WebhookService.start(local_settings(proxy.url), lambda: pytest.fail("a loop has ended"))
    try:
        await due(store, f"{receiver.url}/hook")
        await until(lambda: valkey.client.llen(QUEUE) == 1)
        (lease,) = [Lease(name, token) for name, token in leases(valkey)]
        sending = asyncio.create_task(service.send(lease))
        await until(lambda: refused[script_digest("webhook_end").encode()] > 1)
        await until(lambda: "dispatcher waits for the store" in caplog.text)
        proxy.rule = pass_all
        assert (await sending).state is TaskState.SUCCEEDED
    finally:
        await service.close()
        await proxy.close()
        receiver.close()


async def test_a_dispatcher_goes_on_at_once_while_webhooks_are_due_and_then_rests_until_one_is_sent(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    due_now = iter([3, 3, 0, 1, 0])
    looks = []

    async def dispatch(_store: WebhookStore) -> int:
        looks.append(next(due_now))
        return looks[-1]

    monkeypatch.setattr(WebhookStore, "dispatch", dispatch)
    monkeypatch.setattr("worker.webhooks.service.DISPATCH_SECONDS", 3600.0)
    service = await WebhookService.start(local_settings(valkey.url), lambda: pytest.fail("a loop has ended"))
    try:
        await until(lambda: len(looks) >= 3)
        for _ in range(100):
            await asyncio.sleep(0)
        assert looks == [3, 3, 0]
        none = await service.send(Lease("msg_01JD0000000000000000000001_started", 1))
        assert none.state is TaskState.UNCHANGED
        await until(lambda: looks == [3, 3, 0, 1, 0])
    finally:
        await service.close()


async def test_a_dispatcher_that_fails_ends_the_process(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dispatch(_store: WebhookStore) -> int:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(WebhookStore, "dispatch", dispatch)
    dead = asyncio.Event()
    service = await WebhookService.start(local_settings(valkey.url), dead.set)
    try:
        async with asyncio.timeout(20):
            await dead.wait()
    finally:
        await service.close()


def local_settings(url: str, **more: Any) -> Settings:
    return make_settings(url, webhook_allow=("127.0.0.1",), webhook_allow_http=True, webhook_ports=(), **more)


def leases(valkey: Valkey) -> list[tuple[str, int]]:
    messages = [json.loads(message) for message in valkey.client.lrange(QUEUE, 0, -1)]
    return [tuple(json.loads(base64.b64decode(message["body"]))[0]) for message in messages]
