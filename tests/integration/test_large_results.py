"""Results that are sent while they are read: whole in the end, refused before the first byte, or cut off."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import ZipFile

import httpx
import pytest

from gateway.api.rendering import PIECE_BYTES
from gateway.formats.registry import FORMATS
from shared.contract.document import DocumentResult
from shared.payloads.names import RESULT, page_name
from shared.store.jobs import Store
from tests.integration.conftest import Script
from tests.integration.test_gateway_jobs import JOBS, job_of, problem
from tools.payloads import payloads_url
from tools.processes import Gateway
from tools.uploads import tiff

PAGES = 40
FIGURE = b"figure" * (PIECE_BYTES // 6 + 1)
TEXT = "a line of a long page\n" * (2 * PIECE_BYTES // PAGES // 20)


async def long_job(api: httpx.AsyncClient, script: Script) -> str:
    job_id = await job_of(api, data=tiff(range(PAGES)))
    claim = await script.take(job_id)
    for number in range(1, PAGES + 1):
        figures = [(f"{number}_0.jpg", FIGURE)] if number in (3, PAGES) else []
        await script.end(claim, number, f"page {number}\n\n{TEXT}", figures=figures)
    await script.claims.finish(claim)
    return job_id


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_large_result_is_whole(api: httpx.AsyncClient, script: Script, store: Store, kind: str) -> None:
    job_id = await long_job(api, script)
    answer = await api.get(f"{JOBS}/{job_id}/result?format={kind}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "content-length" not in answer.headers
    document = DocumentResult(job_id=job_id, engine="instant", pages=tuple(await store.pages(job_id)))
    if kind == "zip":
        with ZipFile(io.BytesIO(answer.content)) as opened:
            assert opened.testzip() is None
            assert DocumentResult.model_validate_json(opened.read("result.json")) == document
            assert opened.read(f"images/{PAGES}_0.jpg") == FIGURE
    elif kind == "json":
        assert answer.text == document.model_dump_json()
        assert (await api.get(f"{JOBS}/{job_id}/document")).text == answer.text
    else:
        at = [answer.text.index(f"page {number}\n") for number in range(1, PAGES + 1) if kind != "html"]
        assert at == sorted(at)
        assert answer.text.count("a line of a long page") == PAGES * TEXT.count("a line")


async def test_what_is_missing_is_told_before_the_first_byte(
    api: httpx.AsyncClient, script: Script, store: Store
) -> None:
    job_id = await long_job(api, script)
    assert store.payloads is not None
    await store.payloads.delete([page_name(job_id, "attempt-1", PAGES, f"{PAGES}_0.jpg")])
    problem(await api.get(f"{JOBS}/{job_id}/result?format=zip"), 410, "payload-missing")
    assert (await api.get(f"{JOBS}/{job_id}/result?format=md")).status_code == 200
    await store.payloads.delete([page_name(job_id, "attempt-1", PAGES, RESULT)])
    problem(await api.get(f"{JOBS}/{job_id}/result?format=md"), 410, "payload-missing")


async def test_a_result_that_fails_on_its_way_is_cut_off(
    gateway: Gateway, api: httpx.AsyncClient, script: Script
) -> None:
    """So that nobody takes the part for the whole."""
    job_id = await long_job(api, script)
    last = Path(urlsplit(payloads_url()).path) / page_name(job_id, "attempt-1", PAGES, RESULT)
    last.unlink()
    last.symlink_to("nowhere")  # it is listed, and cannot be read
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{JOBS}/{job_id}/result?format=json")
        assert (await client.get(f"{JOBS}/{job_id}/pages/1?format=md")).status_code == 200
    assert "a result was cut off: " in gateway.text()
