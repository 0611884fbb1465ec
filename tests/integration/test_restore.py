"""The commands of docs/operations.md that save and restore the store: every job accepted before the copy goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.store.connect import connect
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.waiting import ended, until
from tools.processes import Worker
from tools.uploads import png, submit, tiff
from tools.valkey import ROOT, Valkey, wait_until

BACKUP = ROOT / "deploy" / "redis" / "backup.sh"


@pytest.fixture
def own_store(tmp_path: Path) -> Any:
    """A server of this test alone."""
    folder = tmp_path / "store"
    folder.mkdir()
    server = Valkey(folder)
    yield server
    server.stop()


def back_up(server: Valkey, target: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(BACKUP), str(server.folder / "appendonlydir"), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def saved(server: Valkey) -> bool:
    """Whether what was written so far is in the file, as it is within a second."""
    return bool(
        server.client.info("persistence")["aof_last_write_status"] == "ok" and server.client.waitaof(1, 0, 2000)[0]
    )


async def test_jobs_accepted_before_the_copy_are_there_after_a_restore_and_finish(
    own_store: Valkey, tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    store = Store(connect(own_store.url, patient=False), make_settings(own_store.url))
    done = await submit(store, png(1), "image/png")
    first = start_worker(redis_url=own_store.url).wait_ready()
    assert (await ended(store, done)).status == "succeeded"
    first.kill()
    slow = start_worker(redis_url=own_store.url, instant_seconds=60).wait_ready()
    running = await submit(store, tiff([2, 3]), "image/tiff", 2)
    await until(store, running, lambda job: job.status == "processing")
    waiting = [await submit(store, png(seed), "image/png") for seed in range(4, 12)]
    wait_until(lambda: saved(own_store), what="the file to be written")
    made = back_up(own_store, tmp_path / "copy")
    assert made.returncode == 0, made.stderr
    await submit(store, png(99), "image/png")  # after the copy: lost with the disk
    slow.kill()
    own_store.stop()
    shutil.rmtree(own_store.folder / "appendonlydir")
    shutil.copytree(tmp_path / "copy", own_store.folder / "appendonlydir")
    own_store.start()
    assert (await store.job(done)).status == "succeeded"
    assert "sha256" in (await store.pages(done))[0].markdown
    start_worker(redis_url=own_store.url).wait_ready()
    for job_id in (running, *waiting):
        assert (await ended(store, job_id)).status == "succeeded"
    await store.redis.aclose()


def test_a_copy_replaces_nothing_and_notices_a_rewrite(own_store: Valkey, tmp_path: Path) -> None:
    own_store.client.set("key", "value")
    (tmp_path / "there").mkdir()
    assert back_up(own_store, tmp_path / "there").returncode == 1
    folder = tmp_path / "torn"
    shutil.copytree(own_store.folder / "appendonlydir", folder)
    manifest = next(folder.glob("*.manifest"))
    manifest.write_text(manifest.read_text() + "file gone.incr.aof seq 9 type i\n")
    done = subprocess.run(["sh", BACKUP, folder, tmp_path / "copy"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "try again" in done.stderr
    assert not list(tmp_path.glob("copy*"))
