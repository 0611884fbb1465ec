"""The operator's command line, on a real store."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway import admin, local_store
from gateway.settings import GatewaySettings
from shared.contract.job import WebhookTarget
from shared.contract.options import Options, Priority
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.jobs import Store
from shared.store.webhooks import Ended, WebhookOutcome, WebhookStore
from tests.integration.conftest import Script
from tests.integration.waiting import until
from tests.settings import Settings, settings_of
from tools.uploads import png, submit
from tools.valkey import ROOT, Valkey
from worker.claims import Claims


async def said(store: Store, *arguments: str) -> list[list[str]]:
    """The words of each line that the command prints."""
    text = await admin.run(settings_of(store), admin.parse(arguments))
    return [line.split() for line in text.splitlines()]


async def test_usage_is_by_key_and_day(store: Store, script: Script) -> None:
    first = await submit(store, png(1), "image/png", owner="alice")
    await submit(store, png(2), "image/png", owner="alice")
    await submit(store, png(3), "image/png", owner="bob")
    await script.do(first)
    head, alice, bob = await said(store, "usage")
    assert head == ["DAY", "OWNER", "JOBS", "PAGES", "BYTES", "TOKENS"]
    assert alice[1:] == ["alice", "2", "2", str(len(png(1)) + len(png(2))), "3"]
    assert bob[1:] == ["bob", "1", "1", str(len(png(3))), "0"]
    assert await said(store, "usage", "--owner", "bob") == [head, bob]


async def test_the_queue_is_listed_and_cancelled_by_filter(store: Store, script: Script) -> None:
    his = [await submit(store, png(seed), "image/png", owner="alice") for seed in range(3)]
    hers = await submit(store, png(9), "image/png", owner="bob", options=Options(priority=Priority.HIGH))
    await script.take(his[0])
    assert [line[0] for line in (await said(store, "queue", "list"))[1:]] == [*his, hers]
    assert [line[0] for line in (await said(store, "queue", "list", "--status", "processing"))[1:]] == [his[0]]
    assert (await said(store, "queue", "list", "--older", "3600"))[1:] == []
    with pytest.raises(ValueError, match="say which"):
        await said(store, "queue", "cancel")
    assert await said(store, "queue", "cancel", "--owner", "alice", "--status", "queued") == [
        ["2", "of", "2", "jobs", "cancelled"]
    ]
    states = [(await store.job(job_id)).status.value for job_id in (*his, hers)]
    assert states == ["processing", "cancelled", "cancelled", "queued"]


async def test_a_job_that_waits_gets_another_priority_and_is_read_before_the_others(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    first, second = [await submit(store, png(seed), "image/png") for seed in (1, 2)]
    await said(store, "queue", "reprioritise", second, "--to", "high")
    moved, behind = await store.job(second), await store.job(first)
    assert (moved.options.priority, moved.queue and moved.queue.position) == (Priority.HIGH, 1)
    assert behind.queue is not None
    assert (behind.queue.position, behind.queue.pages_ahead) == (2, 1)
    assert valkey.client.llen(keyspace.QUEUE_HIGH()) == 1
    claim = await claims.claim(second, "t")
    assert claim is not None
    assert await claims.start(claim, "instant")
    assert await said(store, "queue", "reprioritise", second, "--to", "low") == [["0", "of", "1", "jobs", "now", "low"]]


async def test_a_lost_message_is_sent_again_at_once(store: Store, claims: Claims, valkey: Valkey) -> None:
    job_id = await submit(store, png(1), "image/png")
    valkey.client.delete(keyspace.QUEUE("3"))
    assert await claims.reap() == 0
    await said(store, "queue", "requeue", "--all")
    await asyncio.sleep(0.01)
    assert await claims.reap() == 1
    assert valkey.client.llen(keyspace.QUEUE("3")) == 1
    await until(store, job_id, lambda job: job.status == "queued")


async def test_workers_and_room(store: Store, script: Script) -> None:
    await script.report(slots=8)
    await submit(store, png(1), "image/png")
    (line,) = (await said(store, "workers"))[1:]
    assert line[:3] == ["worker-1", "ready", "instant"]
    room = {name: (used, limit) for name, used, limit in (await said(store, "room"))[1:]}
    assert room["jobs"] == ("1", str(settings_of(store).max_queue_jobs))
    assert int(room["memory"][0]) > 0


async def test_an_order_to_drain_is_for_the_process_that_reports_now(store: Store, script: Script) -> None:
    started_at, engine = time.time(), EngineStatus("instant")

    async def report(started_at: float = started_at) -> bool:
        return await script.claims.report(WorkerStatus(name="worker-1", started_at=started_at, engine=engine))

    with pytest.raises(NotFound, match="No worker worker-1 reports"):
        await said(store, "workers", "drain", "worker-1")
    assert not await report()
    await said(store, "workers", "drain", "worker-1")
    assert await report()
    with pytest.raises(ValueError, match="still holds jobs"):
        await said(store, "workers", "drain", "worker-1", "--wait", "0.01")
    assert not await report(started_at + 1)  # a new process with the name of the one before
    await said(store, "workers", "resume", "worker-1")
    assert not await report()
    await said(store, "workers", "drain", "worker-1")
    await script.claims.retire()
    assert not await report()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("12h", 43200), ("7d", 604800)])
def test_a_time_is_given_with_its_unit(text: str, seconds: float) -> None:
    assert admin.seconds(text) == seconds
    with pytest.raises(argparse.ArgumentTypeError):
        admin.seconds(f"{text}x")


async def test_webhooks_that_were_given_up_are_listed_and_sent_again(
    store: Store, settings: Settings, valkey: Valkey
) -> None:
    hooks = WebhookStore(store.redis, settings.model_copy(update={"webhook_schedule": (0.0,)}))
    target = WebhookTarget(url="https://example.org/hook?token=secret", events=("job.cancelled",))
    job_id = await submit(store, png(1), "image/png", owner="alice", webhook=target)
    await store.cancel(job_id)
    (lease,) = await hooks.take()
    due = await hooks.begin(lease)
    assert due is not None
    assert await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500)) == "exhausted"
    (line,) = (await said(store, "webhooks", "list"))[1:]
    assert line == [lease.webhook_id, "exhausted", "1", "https://example.org"]
    assert (await said(store, "webhooks", "list", "--url", "https://other.org"))[1:] == []
    assert await said(store, "webhooks", "resend", "--owner", "alice") == [
        ["1", "of", "1", "webhooks", "are", "sent", "again"]
    ]
    assert (await said(store, "webhooks", "list"))[1:] == []
    assert await hooks.take()


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.admin", *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip


def test_the_command_line_manages_keys_and_refuses_what_has_no_filter(valkey: Valkey) -> None:
    made = command("keys", "create", "carol", REDIS_URL=valkey.url)
    assert made.stdout.startswith("ocr_")
    assert "carol" in command("keys", "list", REDIS_URL=valkey.url).stdout
    refused = command("queue", "cancel", REDIS_URL=valkey.url)
    assert (refused.returncode, refused.stderr) == (1, "say which: a filter, or --all\n")


def test_a_local_run_is_found_by_the_file_that_it_writes(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**more: Any) -> str:
        return local_store.with_store(GatewaySettings(_env_file=None, **more)).redis_url.get_secret_value()

    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(local_store, "RUNS", tmp_path)
    default = found()
    for port, url in (("8000", valkey.url), ("8001", "redis://127.0.0.1:1/0")):
        (tmp_path / port).mkdir()
        (tmp_path / port / "store-url").write_text(f"{url}\n")
    assert found() == valkey.url
    assert found(redis_url=default) == default
    (tmp_path / "8001" / "store-url").write_text(valkey.url)
    with pytest.raises(ValueError, match="2 local runs answer"):
        found()
