"""A sender's service: what is due goes to the queue without being asked for, and stops going as it drains."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contract.job import WebhookTarget
from shared.store.jobs import Store
from shared.store.webhooks import QUEUE, Lease
from tests.conftest import make_settings
from tools.receiver import Receiver
from tools.uploads import submit
from tools.valkey import Valkey
from worker.outcome import TaskState
from worker.webhooks.service import WebhookService


@pytest.fixture
async def service(valkey: Valkey, tmp_path: Path) -> AsyncIterator[WebhookService]:
    settings = make_settings(
        valkey.url, webhook_allow=("127.0.0.1",), webhook_allow_http=True, webhook_ports=(),
        heartbeat_file=tmp_path / "beat",
    )  # fmt: skip
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


def leases(valkey: Valkey) -> list[tuple[str, int]]:
    messages = [json.loads(message) for message in valkey.client.lrange(QUEUE, 0, -1)]
    return [tuple(json.loads(base64.b64decode(message["body"]))[0]) for message in messages]
