"""Every payload store does the same: a folder, and a bucket behind a real S3 protocol."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import stat
from pathlib import Path

import pytest

from shared.errors import PayloadMissing, StoreFull, StoreUnavailable
from shared.payloads.base import BadPayloadStore, PayloadStore
from shared.payloads.folder import FolderPayloads
from shared.payloads.names import RESULT, TEMPORARY, job_folder, job_of, page_name, upload_name
from shared.payloads.opening import check_payloads, open_payloads
from shared.store.connect import connect
from tools.s3_server import BUCKET, S3Server
from tools.valkey import Valkey, free_port
from worker.payload_sweeper import PayloadSweeper

NO_REDIS = "redis://127.0.0.1:1/0"
JOB = "01KB3X00000000000000000001"


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/payloads"
    for name, value in request.getfixturevalue("s3").environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def payloads(url: str) -> PayloadStore:
    store = open_payloads(url)
    assert store is not None
    if isinstance(store, FolderPayloads):
        store.make()
    return store


async def test_what_is_put_is_there_whole_and_in_parts(payloads: PayloadStore) -> None:
    data = os.urandom(700_000)
    name = page_name(JOB, "token", 7, RESULT)
    await payloads.put(name, data)
    assert await payloads.get(name) == data
    assert (await payloads.about(name)).size == len(data)
    assert b"".join([chunk async for chunk in payloads.stream(name)]) == data
    assert b"".join([chunk async for chunk in payloads.stream(name, 5, 300_000)]) == data[5:300_000]
    assert b"".join([chunk async for chunk in payloads.stream(name, 699_990)]) == data[699_990:]


async def test_a_file_is_put_from_where_it_stands(payloads: PayloadStore) -> None:
    await payloads.put(upload_name(JOB), file := io.BytesIO(b"0123456789" * 1_000_000))
    assert (await payloads.about(upload_name(JOB))).size == len(file.getvalue())


async def test_what_is_not_there_is_missing_and_may_be_deleted(payloads: PayloadStore) -> None:
    for ask in (payloads.get("a/b"), payloads.about("a/b"), anext(payloads.stream("a/b"))):
        with pytest.raises(PayloadMissing):
            await ask
    await payloads.delete(["a/b"])
    await payloads.put("a/c", b"x")
    await payloads.delete(["a/b", "a/c"])
    assert [payload async for payload in payloads.under("")] == []
    assert [payload async for payload in payloads.under("a/")] == []


async def test_a_folders_payloads_are_listed_by_name_and_deleted_together(payloads: PayloadStore) -> None:
    other = "01KB3Z00000000000000000001"
    names = sorted([upload_name(JOB), page_name(JOB, "t1", 1, RESULT), page_name(JOB, "t2", 10, "10_0.jpg")])
    for name in [*names, upload_name(other)]:
        await payloads.put(name, b"four")
    found = [payload async for payload in payloads.under(job_folder(JOB))]
    assert [(payload.name, payload.size) for payload in found] == [(name, 4) for name in names]
    assert {job_of(payload.name) for payload in found} == {JOB}
    assert [folder for folder in await payloads.folders() if folder != TEMPORARY] == ["01KB3X/", "01KB3Z/"]
    assert await payloads.delete_all(job_folder(JOB)) == 3
    assert [payload.name async for payload in payloads.under("")] == [upload_name(other)]
    assert [folder for folder in await payloads.folders() if folder != TEMPORARY] == ["01KB3Z/"]


async def test_a_check_leaves_nothing(payloads: PayloadStore, url: str) -> None:
    await payloads.check()
    await asyncio.to_thread(check_payloads, url, NO_REDIS)
    assert [payload async for payload in payloads.under("")] == []


async def test_many_may_write_and_delete_in_one_folder_at_once(payloads: PayloadStore) -> None:
    """A folder that becomes empty is removed while others write into it."""

    async def come_and_go(number: int) -> None:
        for turn in range(5):
            await payloads.put(name := page_name(JOB, f"t{number}", turn, RESULT), b"x")
            assert await payloads.get(name) == b"x"
            await payloads.delete([name])

    await asyncio.gather(*map(come_and_go, range(8)))
    assert await payloads.folders() in ([], ["tmp/"])


def test_only_its_owner_may_read_the_folder(tmp_path: Path) -> None:
    payloads = FolderPayloads(tmp_path / "new")
    payloads.make()
    asyncio.run(payloads.check())
    asyncio.run(payloads.put("a/b/c", b"secret"))
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    }
    assert modes == {"new": 0o700, "tmp": 0o700, "a": 0o700, "b": 0o700, "c": 0o600}


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)]
)
def test_a_folder_without_room_says_so_and_keeps_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreUnavailable]
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    payloads = FolderPayloads(tmp_path)
    payloads.make()
    monkeypatch.setattr("shared.payloads.folder.os.fsync", refuse)
    with pytest.raises(kind) as refused:
        asyncio.run(payloads.put("a/b", b"x"))
    assert type(refused.value) is kind
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_not_mounted_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    """An empty mount point must neither take what belongs on the disk nor make a payload look missing."""
    payloads = FolderPayloads(tmp_path / "disk")
    payloads.make()
    asyncio.run(payloads.put("a/b", b"x"))
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    (tmp_path / "disk").mkdir()
    for ask in (payloads.get("a/b"), payloads.put("a/c", b"x"), payloads.delete(["a/b"]), payloads.delete_all("a/")):
        with pytest.raises(StoreUnavailable):
            asyncio.run(ask)
    assert list((tmp_path / "disk").iterdir()) == []
    (tmp_path / "disk").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert asyncio.run(payloads.get("a/b")) == b"x"


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a//b", "a/../b", ".a", "", "a/", "a\n"])
async def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        await FolderPayloads(tmp_path).get(name)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/folder", "use file:///folder"),
        ("payloads", "use file:///folder"),
        ("file://host/folder", "file:///absolute/path"),
        ("file:///", "file:///absolute/path"),
        ("file:folder", "file:///absolute/path"),
        ("s3://key:secret@bucket/x", "the cloud's own variables"),
        ("s3:///x", "the cloud's own variables"),
        ("file:///proc/nowhere", "cannot be written to"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(valkey: Valkey, url: str, why: str) -> None:
    with pytest.raises(BadPayloadStore, match=why) as refused:
        check_payloads(url, valkey.url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_missing_bucket_is_a_bad_setting_and_a_silent_server_is_not(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadPayloadStore, match="is missing: make it first"):
        check_payloads("s3://no-such-bucket/x", NO_REDIS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    check_payloads(f"s3://{BUCKET}/x", NO_REDIS)


async def test_a_bucket_that_does_not_answer_is_unavailable(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}.items():
        monkeypatch.setenv(name, value)
    away = open_payloads(f"s3://{BUCKET}/x")
    assert away is not None
    with pytest.raises(StoreUnavailable):
        await away.get("a/b")


async def test_a_folder_is_made_once_and_never_where_its_disk_is_not_mounted(valkey: Valkey, tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "payloads"
    url = f"file://{folder}"

    async def check(redis_url: str) -> None:
        await asyncio.to_thread(check_payloads, url, redis_url)

    payloads, client = FolderPayloads(folder), connect(valkey.url, patient=False)
    sweeper = PayloadSweeper(client, payloads, "worker-1", orphan_age=3600)
    await check(NO_REDIS)
    before = payloads.is_there
    await check(valkey.url)
    assert (before, payloads.is_there) == (False, True)  # without Redis nobody can say whether it was there before
    await sweeper.step()
    folder.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(BadPayloadStore, match=f"payloads were kept in a folder, and {url} has none: mount its disk"):
        await check(valkey.url)
    await sweeper.step()
    assert not folder.parent.exists()
    (tmp_path / "elsewhere").rename(folder.parent)
    await check(valkey.url)
    valkey.client.flushall()
    shutil.rmtree(folder)
    await sweeper.step()  # a new folder, for whose sake no process has to start again once Redis is there
    assert payloads.is_there
    await client.aclose()


def test_redis_needs_no_store_of_its_own() -> None:
    assert open_payloads("redis:") is None
