"""Documents, many at once, and the client for asyncio, against a real gateway, store and worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocr_client import AsyncClient, Client, ClientError, Outcome, Problem
from tools.processes import Gateway, Worker
from tools.uploads import png
from tools.valkey import ROOT, Valkey

SAMPLE = ROOT / "docs" / "sample.pdf"


@pytest.fixture(scope="module")
def url(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("many")
    valkey_server.client.flushall()
    gateway, worker = Gateway(folder, valkey_server.url), Worker(folder, valkey_server.url)
    worker.wait_ready()
    yield gateway.wait_ready().url
    gateway.stop()
    worker.stop()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five pictures and, third, a file that is none."""
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(png(number) if number != 2 else b"no picture")
    return paths


def test_a_document_has_pages_blocks_and_boxes(url: str, tmp_path: Path) -> None:
    with Client(url) as client:
        document = client.read(SAMPLE, pages="1-")
    assert [page.number for page in document.pages] == [1, 2]
    page = document.pages[0]
    left, top, right, bottom = page.blocks[0].bbox
    assert 0 <= left < right <= page.width and 0 <= top < bottom <= page.height
    assert (document.faults, str(document)) == ((), document.markdown)
    saved = document.save(tmp_path / "texts")
    assert saved.name == "sample.md" and saved.read_text() == document.markdown
    assert json.loads(saved.with_suffix(".json").read_text())["job_id"] == document.job.id


def test_many_files_of_which_one_fails_alone(url: str, files: list[Path]) -> None:
    taken = 0

    def sources() -> Iterator[Path]:
        nonlocal taken
        for path in files:
            taken += 1
            yield path

    outcomes: list[Outcome] = []
    with Client(url) as client:
        for outcome in client.read_many(sources(), concurrency=2):
            assert taken <= len(outcomes) + 2 * 2  # no more than are being read, and those that were just done
            outcomes.append(outcome)
    failed = {outcome.source: outcome.error for outcome in outcomes if outcome.document is None}
    assert {outcome.source for outcome in outcomes} == set(files)
    assert list(failed) == [files[2]]
    assert isinstance(failed[files[2]], Problem)


async def test_the_client_for_asyncio(url: str, files: list[Path]) -> None:
    async with AsyncClient(url) as client:
        seen: list[int] = []

        async def watch(job: object) -> None:
            seen.append(job.progress.pages_done)  # type: ignore[attr-defined]

        job = await client.wait(await client.submit(SAMPLE), watcher=watch)
        assert (job.status, seen[-1]) == ("succeeded", 2)
        assert (await client.page(job, 2)).startswith(b"# A page of")
        assert (await client.page_image(job, 1, boxes=True))[8:12] == b"WEBP"
        assert (await client.search("A page of"))[0].page in (1, 2)
        outcomes = [outcome async for outcome in client.read_many(files, concurrency=3)]
        assert sorted(outcome.document is None for outcome in outcomes) == [False] * 5 + [True]
        assert job.id in {found.id async for found in client.jobs(status="succeeded")}
        await client.delete(job)
        with pytest.raises(ClientError, match="not-found"):
            await client.job(job)
