"""The document, its pages, pictures and figures, in every format and at every moment of a job's life."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import pytest
from PIL import Image

from shared.boxes import page_picture
from shared.contract.document import Figure, PageStatus
from shared.payloads.names import PICTURE, page_name
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.conftest import Script, client_of
from tests.integration.test_gateway_jobs import JOBS, job_of, problem
from tools.uploads import picture, tiff
from tools.valkey import Valkey

JPEG = b"\xff\xd8\xff a picture"
MARKDOWN = "# Title\n\nA *line* & <script>alert(1)</script>\n\n![](images/1_0.jpg)"


@pytest.fixture
async def done(api: httpx.AsyncClient, script: Script) -> str:
    """The path of a job of two pages, the first with a figure and a picture."""
    job_id = await job_of(api, data=tiff([1, 2]))
    claim = await script.take(job_id)
    figure = Figure(name="1_0.jpg", bbox=(0, 0, 5, 5))
    kept = page_picture(picture(1), 80)
    await script.end(claim, 1, MARKDOWN, figures=[("1_0.jpg", JPEG)], picture=kept)
    await script.end(claim, 2, "second", status=PageStatus.DEGRADED, reason="length")
    await script.claims.finish(claim)
    assert figure
    return f"{JOBS}/{job_id}"


@pytest.mark.parametrize(
    ("accept", "query", "content_type"),
    [
        ("*/*", None, "text/markdown; charset=utf-8"),
        ("text/html", None, "text/html; charset=utf-8"),
        ("application/json, text/html;q=0.5", None, "application/json"),
        ("text/html", "json", "application/json"),
        ("*/*", "md", "text/markdown; charset=utf-8"),
        ("*/*", "txt", "text/plain; charset=utf-8"),
        ("*/*", "html", "text/html; charset=utf-8"),
        ("*/*", "zip", "application/zip"),
    ],
)
async def test_format_by_accept_or_query(
    api: httpx.AsyncClient, done: str, accept: str, query: str | None, content_type: str
) -> None:
    params = {"format": query} if query else {}
    answer = await api.get(f"{done}/result", headers={"Accept": accept}, params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_json_is_the_document_of_the_contract(api: httpx.AsyncClient, done: str) -> None:
    document = (await api.get(f"{done}/result", params={"format": "json"})).json()
    assert (document["job_id"], document["engine"]) == (done.rsplit("/")[-1], "instant")
    first, second = document["pages"]
    assert (first["number"], first["width"], first["height"], first["markdown"]) == (1, 200, 120, MARKDOWN)
    assert first["blocks"][0] == {"type": "text", "bbox": [1, 1, 9, 9], "text": MARKDOWN, "confidence": None}
    assert (second["status"], second["reason"]) == ("degraded", "length")


async def test_html_runs_nothing(api: httpx.AsyncClient, done: str) -> None:
    answer = await api.get(f"{done}/result", params={"format": "html"})
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    figure = await api.get(f"{done}/images/1_0.jpg")
    assert 'src="images/1_0.jpg"' in answer.text
    assert (figure.content, figure.headers["content-type"]) == (JPEG, "image/jpeg")


async def test_zip_holds_markdown_json_and_figures(api: httpx.AsyncClient, done: str) -> None:
    answer = await api.get(f"{done}/result", params={"format": "zip"})
    assert 'filename="a.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["images/1_0.jpg", "result.json", "result.md"]
        assert archive.read("images/1_0.jpg") == JPEG
        assert json.loads(archive.read("result.json"))["pages"][1]["markdown"] == "second"


async def test_unknown_format_is_refused(api: httpx.AsyncClient, done: str) -> None:
    problem(await api.get(f"{done}/result", params={"format": "docx"}), 400, "bad-option")


async def test_a_page_is_there_before_the_job_is_done(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, data=tiff([1, 2, 3]), pages="2-3")
    claim = await script.take(job_id)
    await script.end(claim, 3, "three")
    page = await api.get(f"{JOBS}/{job_id}/pages/3")
    assert (page.status_code, page.json()["number"], page.json()["markdown"]) == (200, 3, "three")
    early = await api.get(f"{JOBS}/{job_id}/pages/2")
    assert (early.status_code, early.json()["id"]) == (202, job_id)
    for number in (0, 1, 4, -1, 10**12):
        problem(await api.get(f"{JOBS}/{job_id}/pages/{number}"), 404, "not-found")
    problem(await api.get(f"{JOBS}/{job_id}/pages/one"), 400, "bad-option")


async def test_a_page_in_another_format(api: httpx.AsyncClient, done: str) -> None:
    assert (await api.get(f"{done}/pages/2", params={"format": "txt"})).text == "second\n"
    page = await api.get(f"{done}/pages/1", headers={"Accept": "text/html"})
    assert 'src="../images/1_0.jpg"' in page.text


async def test_picture_of_a_page_plain_and_with_boxes(api: httpx.AsyncClient, done: str) -> None:
    plain = await api.get(f"{done}/pages/1/image")
    boxed = await api.get(f"{done}/pages/1/image", params={"boxes": "true"})
    for answer in (plain, boxed):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        assert Image.open(io.BytesIO(answer.content)).size == (200, 120)
    assert plain.content != boxed.content
    problem(await api.get(f"{done}/pages/2/image"), 404, "not-found")  # none was kept
    problem(await api.get(f"{done}/pages/3/image"), 404, "not-found")
    problem(await api.get(f"{done}/pages/1/image", params={"boxes": "perhaps"}), 400, "bad-option")


async def test_a_failed_job_has_no_result_but_its_reason(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api)
    claim = await script.take(job_id)
    await script.claims.fail(claim, "no-page-read", "No page could be read")
    assert "no-page-read" in problem(await api.get(f"{JOBS}/{job_id}/result"), 409, "job-failed")["detail"]
    problem(await api.get(f"{JOBS}/{job_id}/pages/1"), 409, "job-failed")
    job = (await api.get(f"{JOBS}/{job_id}")).json()
    assert job["error"] == {"code": "no-page-read", "detail": "No page could be read"}


async def test_after_its_retention_a_result_is_gone_and_says_so(script: Script, valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, result_ttl=100)) as api:
        job_id = await job_of(api)
        await script.do(job_id)
        valkey.client.hset(f"job:{job_id}", "expires", 1.0)
        for path in ("/result", "/pages/1", "/pages/1/image", "/events", "/images/1_0.jpg"):
            problem(await api.get(f"{JOBS}/{job_id}{path}"), 410, "result-expired")
        assert (await api.get(f"{JOBS}/{job_id}")).json()["status"] == "succeeded"


async def test_a_partial_document_says_which_page_is_missing(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, data=tiff([1, 2]))
    claim = await script.take(job_id)
    await script.end(claim, 1, "one")
    await script.end(claim, 2, status=PageStatus.FAILED, reason="inference-failed")
    await script.claims.finish(claim)
    assert (await api.get(f"{JOBS}/{job_id}")).json()["status"] == "partial"
    assert "page 2: failed (inference-failed)" in (await api.get(f"{JOBS}/{job_id}/result")).text


async def test_a_result_is_laid_out_as_the_job_or_the_query_says(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, data=tiff([1, 2]), page_marks="true")
    claim = await script.take(job_id)
    await script.end(claim, 1, "It goes on over")
    await script.end(claim, 2, "the break.")
    await script.claims.finish(claim)
    path = f"{JOBS}/{job_id}/result"
    marked = "<!-- page 1 -->\n\nIt goes on over\n\n<!-- page 2 -->\n\nthe break.\n"
    assert (await api.get(path)).text == marked
    assert (await api.get(f"{path}?page_marks=false&join_pages=true")).text == "It goes on over the break.\n"
    with zipfile.ZipFile(io.BytesIO((await api.get(f"{path}?format=zip")).content)) as opened:
        assert opened.read("result.md").decode() == marked
    problem(await api.get(f"{path}?page_marks=perhaps"), 400, "bad-option")


@pytest.mark.parametrize("path", ["images/1_0.jpg", "pages/1/image"])
async def test_pictures_are_sent_in_parts_and_not_again_when_known(
    api: httpx.AsyncClient, done: str, path: str
) -> None:
    whole = await api.get(f"{done}/{path}")
    size, tag = len(whole.content), whole.headers["etag"]
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    assert whole.headers["content-length"] == str(size)
    for wanted, part in (("bytes=2-4", slice(2, 5)), ("bytes=3-", slice(3, None)), ("bytes=-2", slice(-2, None))):
        some = await api.get(f"{done}/{path}", headers={"Range": wanted, "If-Range": tag})
        assert (some.status_code, some.content) == (206, whole.content[part])
        assert some.headers["content-range"] == f"bytes {part.indices(size)[0]}-{part.indices(size)[1] - 1}/{size}"
    for headers in ({"Range": "bytes=0-1,3-4"}, {"Range": "lines=1-2"}, {"Range": "bytes=1-", "If-Range": '"other"'}):
        assert (await api.get(f"{done}/{path}", headers=headers)).content == whole.content
    beyond = await api.get(f"{done}/{path}", headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range-not-satisfiable")
    known = await api.get(f"{done}/{path}", headers={"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)


async def test_a_missing_payload_is_410_for_what_needs_it_and_counted(
    api: httpx.AsyncClient, done: str, store: Store
) -> None:
    job_id = done.rpartition("/")[2]
    assert store.payloads is not None
    await store.payloads.delete([page_name(job_id, "attempt-1", 1, part) for part in (PICTURE, "1_0.jpg")])
    for path in ("pages/1/image", "pages/1/image?width=20", "images/1_0.jpg", "result?format=zip"):
        answer = await api.get(f"{done}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "payload-missing")
    assert (await api.get(f"{done}/result")).status_code == 200
    assert "ocr_payloads_missing_total 4.0" in (await api.get("/metrics")).text
