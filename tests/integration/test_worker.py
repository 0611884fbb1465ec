"""A real worker process on a real server: in flight, killed, stopped, poisoned, cancelled."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.contract.events import PageStarted, PageText
from shared.contract.job import Input, NewJob
from shared.contract.options import Options
from shared.errors import NotFound
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.message import celery_message
from tests.conftest import make_settings
from tests.hostile.make import pdf_of
from tests.integration.waiting import FIXTURES, ended, left_of, names, until, until_counter, until_event
from tests.samples import LOCKED_PDF
from tools.processes import Worker, environment
from tools.uploads import picture, png, submit, tiff
from tools.valkey import ROOT, Valkey
from worker.broker.pool import EXIT_DEAD
from worker.engines.instant import answer


async def test_a_document_is_read_page_by_page(store: Store, start_worker: Callable[..., Worker]) -> None:
    start_worker()
    job = await ended(store, await submit(store, tiff([1, 2, 3]), "image/tiff", 3))
    assert (job.status, job.engine, job.attempt) == ("succeeded", "instant", 1)
    pages = await store.pages(job.id)
    assert [page.markdown for page in pages] == [answer(picture(seed)) for seed in (1, 2, 3)]
    assert [(page.width, page.height) for page in pages] == [(200, 120)] * 3
    assert (await store.page_image(job.id, 2) or b"")[8:12] == b"WEBP"
    events = await store.events(job.id)
    text = "".join(seen.event.text for seen in events if isinstance(seen.event, PageText) and seen.event.page == 2)
    assert text == pages[1].markdown
    assert events[-1].name == "done"


async def test_only_the_pages_asked_for_are_read_under_their_own_numbers(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    data = tiff([1, 2, 3, 4])
    upload = {"filename": "a", "media_type": "image/tiff", "bytes": 1, "sha256": "0" * 64, "pages": 4}
    new = NewJob(input=Input(**upload, page_range="2,4"), pages=2, options=Options())
    job = await ended(store, (await store.submit(new, data)).job_id)
    assert [page.number for page in await store.pages(job.id)] == [2, 4]
    assert (await store.pages(job.id))[1].markdown == answer(picture(4))


async def test_64_jobs_are_in_flight_at_once_and_inspect_shows_them(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker(instant_seconds=5)
    ids = [await submit(store, png(seed), "image/png") for seed in range(64)]
    await until(store, ids[-1], lambda job: job.status == "processing")
    await until_counter(store, "running", 64)
    active = await asyncio.to_thread(inspect, valkey.url, "active")
    assert sorted(task["args"][0] for tasks in active.values() for task in tasks) == sorted(ids)
    for job_id in ids:
        assert (await ended(store, job_id)).status == "succeeded"
    assert worker.alive


def inspect(url: str, what: str) -> dict[str, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "celery", f"--broker={url}", "inspect", what, "--json", "--timeout", "10"]
    found = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=True, timeout=60)
    return json.loads(found.stdout)  # type: ignore[no-any-return]


async def test_killed_with_64_in_flight_every_job_ends_once(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker(instant_seconds=1)
    ids = [await submit(store, png(seed), "image/png") for seed in range(64)]
    await until(store, ids[-1], lambda job: job.status == "processing")
    worker.kill()
    start_worker()
    for seed, job_id in enumerate(ids):
        job = await ended(store, job_id)
        assert (job.status, (await store.pages(job_id))[0].markdown) == ("succeeded", answer(picture(seed)))
        assert (await names(store, job_id)).count("done") == 1
    assert (await store.stats.counters())["ended:succeeded"] == 64


async def test_a_restart_redoes_no_finished_page(store: Store, start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(instant_seconds=0.2, pages_in_flight=2)
    job_id = await submit(store, tiff(range(12)), "image/tiff", 12)
    await until(store, job_id, lambda job: job.progress.pages_done >= 5)
    worker.kill()
    done_before = {mark.number for mark in (await store.job(job_id)).pages}
    start_worker()
    job = await ended(store, job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    started = [seen.event.page for seen in await store.events(job_id) if isinstance(seen.event, PageStarted)]
    assert all(started.count(number) == 1 for number in done_before)
    assert [page.markdown for page in await store.pages(job_id)] == [answer(picture(seed)) for seed in range(12)]


async def test_term_lets_running_pages_end_and_gives_the_rest_back(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker(instant_seconds=1, pages_in_flight=2)
    job_id = await submit(store, tiff(range(8)), "image/tiff", 8)
    waiting = [await submit(store, png(seed), "image/png") for seed in range(5)]
    await until_event(store, job_id, "page.started")
    assert worker.stop() == 0
    job = await store.job(job_id)
    assert job.status == "queued"
    assert 1 <= job.progress.pages_done < 8
    assert valkey.client.hgetall("unacked") == {}
    start_worker(pages_in_flight=2)
    for other in [job_id, *waiting]:
        assert (await ended(store, other)).status == "succeeded"
    assert (await store.job(job_id)).attempt == 2
    restarts = [event for event in await store.events(job_id) if event.name == "page.restarted"]
    assert restarts == [], "no running page was thrown away"


async def test_a_page_that_kills_its_worker_fails_and_its_neighbours_do_not(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    engine = f"{FIXTURES}.kills_on_page:load"
    poison = await submit(store, tiff([1, 2, 3], poison=[2]), "image/tiff", 3)
    innocents = [await submit(store, png(seed), "image/png") for seed in range(10)]
    workers = 0
    while not (await store.job(poison)).finished:
        worker = start_worker(engine=engine, lease=1)
        workers += 1
        async with asyncio.timeout(30):
            while worker.alive and not (await store.job(poison)).finished:
                await asyncio.sleep(0.02)
    job = await store.job(poison)
    assert (job.status, workers) == ("partial", 4)
    assert [(mark.number, mark.status, mark.reason) for mark in job.pages] == [
        (1, "ok", None), (2, "failed", "poison"), (3, "ok", None),
    ]  # fmt: skip
    for job_id in innocents:
        assert (await ended(store, job_id)).status == "succeeded"


async def test_a_dead_engine_ends_the_process_and_gives_the_jobs_back(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    job_id = await submit(store, tiff([1, 2], poison=[2]), "image/tiff", 2)
    worker = start_worker(engine=f"{FIXTURES}.dies_on_page:load")
    assert await asyncio.to_thread(worker.popen.wait, 30) == 71
    assert (await store.job(job_id)).status == "queued"
    start_worker()
    job = await ended(store, job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)


async def test_a_page_the_engine_refuses_fails_alone(store: Store, start_worker: Callable[..., Worker]) -> None:
    start_worker(engine=f"{FIXTURES}.raises_on_page:load")
    job = await ended(store, await submit(store, tiff([1, 2], poison=[1]), "image/tiff", 2))
    assert (job.status, [mark.status for mark in job.pages]) == ("partial", ["failed", "ok"])
    assert job.pages[0].reason == "inference-failed: this page is refused"


async def test_a_page_without_end_fails_by_its_time_limit(store: Store, start_worker: Callable[..., Worker]) -> None:
    start_worker(engine=f"{FIXTURES}.never_returns:load", page_timeout=0.3)
    job = await ended(store, await submit(store, tiff([1, 2], poison=[1]), "image/tiff", 2))
    assert (job.status, job.pages[0].reason) == ("partial", "timeout")


async def test_a_page_read_again_voids_its_text_and_ends_degraded(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    start_worker(engine=f"{FIXTURES}.repeats:load")
    job = await ended(store, await submit(store, tiff([1, 2], poison=[1]), "image/tiff", 2))
    assert (job.status, job.pages[0].status, job.pages[0].reason) == ("partial", "degraded", "repetition")
    events = [event for event in await store.events(job.id) if getattr(event.event, "page", None) == 1]
    names = [event.name for event in events]
    assert names.index("token") < names.index("page.restarted") < names.index("page.completed")
    after = events[names.index("page.restarted") :]
    assert "".join(seen.event.text for seen in after if isinstance(seen.event, PageText)) == "again and"


async def test_cancel_frees_the_engine_for_others(store: Store, start_worker: Callable[..., Worker]) -> None:
    start_worker(engine=f"{FIXTURES}.never_returns:load", pages_in_flight=1)
    stuck = await submit(store, tiff([1], poison=[1]), "image/tiff")
    await until(store, stuck, lambda job: job.status == "processing")
    other = await submit(store, png(5), "image/png")
    await store.cancel(stuck)
    assert (await ended(store, other)).status == "succeeded"
    assert (await store.job(stuck)).status == "cancelled"


async def test_a_job_deleted_while_it_is_read_leaves_nothing(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker(instant_seconds=0.3, pages_in_flight=1)
    job_id = await submit(store, tiff(range(6)), "image/tiff", 6)
    await until(store, job_id, lambda job: job.progress.pages_done > 0)
    await store.delete(job_id)
    await ended(store, await submit(store, png(7), "image/png"))
    with pytest.raises(NotFound):
        await store.job(job_id)
    assert left_of(valkey, job_id) == []
    assert worker.alive


async def test_an_engine_that_cannot_be_loaded_takes_no_job(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    job_id = await submit(store, png(1), "image/png")
    worker = start_worker(engine=f"{FIXTURES}.raises_on_load:load")
    assert await asyncio.to_thread(worker.popen.wait, 30) == 70
    assert "the model's files are missing" in worker.text()
    assert " ready." not in worker.text()
    assert valkey.client.llen("ocr\x06\x163") == 1
    assert (await store.job(job_id)).attempt == 0


async def test_duplicate_messages_read_a_job_once(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    start_worker(instant_seconds=0.5)
    job_id = await submit(store, png(3), "image/png")
    message = valkey.client.lindex("ocr\x06\x163", 0)
    if message is not None:
        for i in range(3):
            copy = json.loads(message)
            copy["properties"]["delivery_tag"] = f"copy-{i}"
            valkey.client.lpush("ocr\x06\x163", json.dumps(copy))
    job = await ended(store, job_id)
    assert job.attempt == 1
    assert (await names(store, job_id)).count("page.started") == 1


async def test_a_message_that_names_no_job_harms_nobody(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker()
    for bad in ("01JD0000000000000000000000", "../../etc/passwd", "x" * 1000):
        valkey.client.lpush("ocr\x06\x163", celery_message(bad))
    assert (await ended(store, await submit(store, png(1), "image/png"))).status == "succeeded"
    assert worker.alive


@pytest.mark.parametrize("fault", ["restart", "freeze", "reset"])
async def test_redis_away_while_jobs_run_the_same_process_goes_on(
    tmp_path: Path, start_worker: Callable[..., Worker], fault: str
) -> None:
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    client = connect(valkey.url, patient=True)
    store = Store(client, make_settings(valkey.url))
    worker = start_worker(instant_seconds=0.5, redis_url=valkey.url, pages_in_flight=4)
    try:
        ids = [await submit(store, png(seed), "image/png") for seed in range(24)]
        await until(store, ids[0], lambda job: job.finished)
        if fault == "restart":
            valkey.stop()
            valkey.start()
        elif fault == "freeze":
            valkey.signal(signal.SIGSTOP)
            await asyncio.sleep(3)
            valkey.signal(signal.SIGCONT)
        else:
            for kind in ("normal", "pubsub"):
                valkey.client.client_kill_filter(_type=kind, skipme=True)
        for job_id in ids:
            assert (await ended(store, job_id, 60)).status == "succeeded"
        late = await submit(store, png(99), "image/png")
        assert (await ended(store, late, 60)).status == "succeeded"
        assert worker.alive
        assert sum([(await names(store, job_id)).count("done") for job_id in ids]) == 24
    finally:
        worker.kill()
        await client.aclose()
        valkey.stop()


async def test_a_locked_pdf_is_read_with_its_password_which_is_kept_nowhere_else(
    store: Store, start_worker: Callable[..., Worker], valkey: Valkey
) -> None:
    worker = start_worker()
    upload = {"filename": "a", "media_type": "application/pdf", "bytes": len(LOCKED_PDF), "sha256": "0" * 64}
    new = NewJob(input=Input(**upload, pages=1, page_range="1"), pages=1, options=Options())
    job = await ended(store, (await store.submit(new, LOCKED_PDF, password="open sesame")).job_id)
    assert (job.status, job.pages[0].reason) == ("succeeded", "blank")
    for key in valkey.client.scan_iter():
        assert b"sesame" not in (valkey.client.dump(key) or b"")
    assert "sesame" not in worker.text()


async def test_a_page_with_no_area_is_drawn_and_the_others_are_read_too(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    pages = ["<< /Type /Page /Parent 2 0 R /MediaBox [0 0 90 90] /Contents 6 0 R"]
    pages += [f"{pages[0]} /CropBox [900 900 950 950]", pages[0].replace("90 90", "0 0")]
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 3 /Kids [3 0 R 4 0 R 5 0 R] >>"]
    objects += [f"{page} >>" for page in pages] + ["<< /Length 14 >>\nstream\n9 9 30 30 re f\nendstream"]
    job = await ended(store, await submit(store, pdf_of(objects), "application/pdf", 3))
    assert (job.status, [page.status for page in job.pages]) == ("succeeded", ["ok"] * 3)


async def test_a_long_page_is_read_in_parts_and_stored_as_one(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    long = Image.effect_noise((300, 6000), 90).convert("RGB")
    buffer = BytesIO()
    long.save(buffer, "PNG")
    job = await ended(store, await submit(store, buffer.getvalue(), "image/png"))
    (page,) = await store.pages(job.id)
    assert (page.width, page.height) == (300, 6000)
    heads = [block for block in page.blocks if block.type == "title"]
    assert len(heads) > 2
    assert [block.bbox[1] for block in heads] == sorted({block.bbox[1] for block in heads})
    streamed = [stored.event for stored in await store.events(job.id)]
    text = "".join(event.text for event in streamed if isinstance(event, PageText))
    assert text == page.markdown


async def test_an_event_loop_that_ends_takes_its_process_with_it(
    store: Store, start_worker: Callable[..., Worker]
) -> None:
    """``SystemExit`` goes through an event loop: a process without it would be alive and do nothing."""
    worker = start_worker(engine=f"{FIXTURES}.exits_on_page:load").wait_ready()
    await submit(store, tiff([1], poison=[1]), "image/tiff", 1)
    assert await asyncio.to_thread(worker.popen.wait, 60) == EXIT_DEAD
    assert "event loop has ended" in worker.text()
