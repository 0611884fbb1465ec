"""Flower shows what the records say: a real Flower over mixed jobs, a cancel, a deadline, a stopped worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import admin
from shared.contract.options import Options, Priority
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.message import celery_message
from tests.conftest import make_settings
from tests.integration.waiting import FIXTURES, ended, until
from tests.settings import settings_of
from tools.processes import Process
from tools.uploads import png, submit, tiff
from tools.valkey import ROOT, Valkey, free_port, wait_until

LOGIN = ("operator", "a-password")
ENGINE = f"{FIXTURES}.raises_on_page:load"
SHOWN = {
    "succeeded": "SUCCESS", "partial": "SUCCESS", "failed": "FAILURE", "cancelled": "REVOKED", "queued": "RETRY",
}  # fmt: skip


class ShownTasks(Process):
    """Flower, and what it shows."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        super().__init__(
            ["-m", "celery", "flower"], folder / "flower.log", broker_url=broker, flower_basic_auth=":".join(LOGIN),
            flower_read_only="true", flower_port=port, flower_address="127.0.0.1",
            pythonpath=ROOT / "deploy" / "flower",
        )  # fmt: skip

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", auth=LOGIN, timeout=10).raise_for_status()

    def task(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/tasks?limit=1000").json().get(job_id, {})
        return found

    def wait_for_state(self, job_id: str, state: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            task = self.task(job_id)
            return task if task.get("state") == state else None

        try:
            return wait_until(reached, 20, f"{state} of {job_id}")  # type: ignore[no-any-return]
        except AssertionError:
            raise AssertionError(f"{job_id} is {self.task(job_id)}, not {state}") from None

    def listens(self) -> bool:
        try:
            return self.get("/healthcheck").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def flower(tmp_path: Path, valkey: Valkey) -> Iterator[ShownTasks]:
    made = ShownTasks(tmp_path, valkey.url)
    made.wait_for(made.listens, 30, "Flower")
    made.wait_for(lambda: valkey.client.pubsub_numpat() > 0, 30, "Flower to hear events")
    yield made
    made.kill()


async def test_flower_shows_how_each_job_ended(
    store: Store, flower: ShownTasks, start_worker: Callable[..., Any]
) -> None:
    cancelled_in_the_queue = await submit(store, png(90), "image/png")
    late = await submit(store, png(91), "image/png", deadline=0.2)
    await store.cancel(cancelled_in_the_queue)
    await until(store, late, lambda job: job.finished)
    start_worker(engine=ENGINE).wait_ready()
    jobs = [cancelled_in_the_queue, late]
    jobs += [await submit(store, tiff([seed, seed + 1]), "image/tiff", 2) for seed in range(1, 21, 2)]
    jobs += [await submit(store, tiff([seed, seed + 1], {seed}), "image/tiff", 2) for seed in range(31, 39, 2)]
    jobs += [await submit(store, tiff([seed], {seed}), "image/tiff") for seed in range(51, 55)]
    seen = [await ended(store, job_id) for job_id in jobs]
    assert {job.status.value for job in seen} == {"succeeded", "partial", "failed", "cancelled"}
    for job in seen:
        task = flower.wait_for_state(job.id, SHOWN[job.status])
        if job.error is not None:
            assert task["exception"].startswith(f"TaskFailed('{job.error.code}: ")
        elif job.status != "cancelled":
            pages = f"{job.progress.pages_done} of {job.progress.pages_total} pages"
            assert task["result"].startswith(f"'{job.status.value}: {pages} in ")
        assert (
            task["args"] == f"{job.progress.pages_total} page{'s' * (job.progress.pages_total > 1)}, anonymous, normal"
        )
    succeeded = sum(job.status in ("succeeded", "partial") for job in seen)
    assert counted(flower, "task-succeeded") == succeeded


def counted(flower: ShownTasks, kind: str) -> float:
    lines = flower.get("/metrics").text.splitlines()
    wanted = [line for line in lines if line.startswith("flower_events_total{") and f'type="{kind}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


async def test_a_job_that_goes_back_to_the_queue_shows_as_retry_and_then_as_it_ends(
    valkey: Valkey, flower: ShownTasks, store: Store, start_worker: Callable[..., Any]
) -> None:
    first = start_worker(engine="instant", instant_seconds=60, drain_seconds=0.2).wait_ready()
    job_id = await submit(store, png(1), "image/png", options=Options(priority=Priority.HIGH))
    await until(store, job_id, lambda job: job.status == "processing")
    assert flower.wait_for_state(job_id, "STARTED")["args"] == "1 page, anonymous, high"
    first.stop()
    assert (await store.job(job_id)).status == "queued"
    flower.wait_for_state(job_id, "RETRY")
    start_worker(engine="instant").wait_ready()
    assert (await ended(store, job_id)).status == "succeeded"
    flower.wait_for_state(job_id, "SUCCESS")
    # The message again: nothing is read, and nothing is shown.
    before = counted(flower, "task-succeeded")
    again = await submit(store, png(2), "image/png")
    valkey.client.lpush("ocr", celery_message(job_id))
    assert (await ended(store, again)).status == "succeeded"
    flower.wait_for_state(again, "SUCCESS")
    wait_until(lambda: not valkey.client.llen("ocr") and not valkey.client.hlen("unacked"), 20, "an empty queue")
    assert flower.task(job_id)["state"] == "SUCCESS"
    assert counted(flower, "task-succeeded") == before + 1


async def test_a_running_job_that_is_cancelled_shows_as_revoked(
    store: Store, flower: ShownTasks, start_worker: Callable[..., Any]
) -> None:
    start_worker(engine="instant", instant_seconds=60).wait_ready()
    job_id = await submit(store, png(1), "image/png")
    await until(store, job_id, lambda job: job.status == "processing")
    await store.cancel(job_id)
    flower.wait_for_state(job_id, "REVOKED")


async def test_a_worker_that_an_operator_drains_gives_its_job_back_and_takes_none_until_it_is_resumed(
    store: Store, flower: ShownTasks, start_worker: Callable[..., Any]
) -> None:
    async def operator(*arguments: str) -> str:
        return await admin.run(settings_of(store), admin.parse(["workers", *arguments]))

    def pool() -> dict[str, Any]:
        """What Flower's page of the worker shows after a look at *Refresh*."""
        (its,) = flower.get("/api/workers?refresh=1").json().values()
        return {**its["stats"]["pool"], "queues": [queue["name"] for queue in its["active_queues"]]}

    start_worker(engine="instant", instant_seconds=0.4, pages_in_flight=1).wait_ready()
    job_id = await submit(store, tiff([*range(1, 13)]), "image/tiff", 12)
    await until(store, job_id, lambda job: job.progress.pages_done > 0)
    (worker,) = await store.workers()
    assert await operator("drain", worker.name, "--wait", "30s") == f"{worker.name} has drained"
    job = await store.job(job_id)
    assert (job.status, job.progress.pages_done > 0) == ("queued", True)
    (worker,) = await store.workers()
    assert (worker.state, worker.reads_pages) == ("draining", False)
    wait_until(lambda: pool()["queues"] == [], 20, "a worker without a queue")
    assert pool()["draining"] is True
    waiting = await submit(store, png(40), "image/png", options=Options(priority=Priority.HIGH))
    flower.wait_for_state(job_id, "RETRY")
    assert (await store.job(waiting)).status == "queued"
    assert await operator("resume", worker.name) == f"{worker.name} takes jobs again"
    assert [(await ended(store, one)).status for one in (waiting, job_id)] == ["succeeded", "succeeded"]
    assert pool()["queues"] == ["ocr"]
    assert (await operator()).splitlines()[1].split()[1] in {"ready", "busy"}


async def test_flower_lists_both_queues_and_counts_what_waits(valkey: Valkey, flower: ShownTasks, store: Store) -> None:
    for seed, priority in enumerate(Priority):
        await submit(store, png(seed), "image/png", options=Options(priority=priority))
    queues = {queue["name"]: queue["messages"] for queue in flower.get("/api/queues/length").json()["active_queues"]}
    assert queues == {"ocr": 3, "webhooks": 0}


@pytest.mark.parametrize(
    ("filenames", "shown"), [(False, "1 page, anonymous, low"), (True, "upload, 1 page, anonymous, low")]
)
async def test_a_file_is_named_only_where_the_settings_say_so(valkey: Valkey, filenames: bool, shown: str) -> None:
    client = connect(valkey.url, patient=False)
    naming = Store(client, make_settings(valkey.url, log_filenames=filenames))
    await submit(naming, png(1), "image/png", options=Options(priority=Priority.LOW))
    raw = valkey.client.lpop("ocr\x06\x166")
    assert isinstance(raw, bytes)
    message = json.loads(raw)
    assert message["headers"]["argsrepr"] == shown
    await client.aclose()
