"""The interfaces of other services: their shapes, their errors, and that they are guarded like our own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from gateway.auth.api_keys import ApiKeys
from shared.contract.document import Figure, PageBlock, PageStatus
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.conftest import Kept, Script, client_of
from tests.integration.test_gateway_jobs import newest
from tools.processes import Gateway
from tools.uploads import png, tiff
from tools.valkey import Valkey

OCR = "/v1/ocr"
PNG = png(1)
Call = Callable[[], Awaitable[httpx.Response]]
BLOCKS = (
    PageBlock(type="header", bbox=(1, 1, 90, 9), text="The head"),
    PageBlock(type="sub_title", bbox=(1, 10, 90, 19), text="## News"),
    PageBlock(type="image", bbox=(5, 20, 60, 70), text="![](images/1_0.jpg)"),
    PageBlock(type="image", bbox=(5, 72, 9, 76), text="![](images/1_1.jpg)"),
    PageBlock(type="table_footnote", bbox=(1, 80, 90, 89), text="Note"),
    PageBlock(type="page_number", bbox=(40, 110, 50, 118), text="7"),
)
MARKDOWN = "\n\n".join(block.text for block in BLOCKS)
FIGURES = (Figure(name="1_0.jpg", bbox=(5, 20, 60, 70)), Figure(name="1_1.jpg", bbox=(5, 72, 9, 76)))


def data_uri(data: bytes = PNG, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def document(data: bytes = PNG, **more: Any) -> dict[str, Any]:
    return {"model": "any", "document": {"type": "document_url", "document_url": data_uri(data)}, **more}


async def read(api: httpx.AsyncClient, script: Script, call: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer to ``call``, while a worker reads one page with heads, figures and all."""
    await script.report()
    waiting = asyncio.ensure_future(call)
    claim = await script.take(await newest(api))
    jpegs = [("1_0.jpg", b"jpeg 0"), ("1_1.jpg", b"jpeg 1")]
    await script.end(claim, 1, MARKDOWN, blocks=BLOCKS, figures=jpegs, page_figures=FIGURES)
    await script.claims.finish(claim)
    return await waiting


async def mistral(api: httpx.AsyncClient, script: Script, **more: Any) -> dict[str, Any]:
    answer = await read(api, script, api.post(OCR, json=document(**more)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-job-id"] == await newest(api)
    (page,) = answer.json()["pages"]
    return page  # type: ignore[no-any-return]


async def test_a_page_in_mistrals_shape(api: httpx.AsyncClient, script: Script) -> None:
    page = await mistral(api, script, include_blocks=True)
    assert (page["index"], page["dimensions"]) == (0, {"dpi": 0, "height": 120, "width": 200})
    assert "![img-0.jpeg](img-0.jpeg)" in page["markdown"] and "images/" not in page["markdown"]
    assert page["images"][0] == {
        "id": "img-0.jpeg", "top_left_x": 5, "top_left_y": 20, "bottom_right_x": 60, "bottom_right_y": 70,
        "image_base64": None,
    }  # fmt: skip
    assert [block["type"] for block in page["blocks"]] == ["header", "title", "image", "image", "caption", "footer"]
    assert page["blocks"][2]["image_id"] == "img-0.jpeg"
    assert (page["header"], page["footer"]) == (None, None)


async def test_figures_as_data_uris_and_the_small_ones_left_out(api: httpx.AsyncClient, script: Script) -> None:
    page = await mistral(api, script, include_image_base64=True, image_min_size=20, include_blocks=True)
    (image,) = page["images"]
    assert image["image_base64"] == f"data:image/jpeg;base64,{base64.b64encode(b'jpeg 0').decode()}"
    assert page["markdown"].count("![") == 1
    assert [block["type"] for block in page["blocks"]].count("image") == 1


async def test_head_and_foot_apart(api: httpx.AsyncClient, script: Script) -> None:
    page = await mistral(api, script, extract_header=True, extract_footer=True)
    assert (page["header"], page["footer"]) == ("The head", "7")
    assert page["markdown"].startswith("## News") and page["markdown"].endswith("Note")
    assert "blocks" not in page


async def test_pages_count_from_zero(api: httpx.AsyncClient, script: Script) -> None:
    await script.report()
    waiting = asyncio.ensure_future(api.post(OCR, json=document(tiff([1, 2, 3]), pages=[1, 2])))
    claim = await script.take(await newest(api))
    await script.end(claim, 2, "two")
    await script.end(claim, 3, "", status=PageStatus.FAILED, reason="inference-failed")
    await script.claims.finish(claim)
    answer = (await waiting).json()
    assert [page["index"] for page in answer["pages"]] == [1, 2]
    assert answer["pages"][1]["markdown"] == "<!-- page 3: failed (inference-failed) -->"
    assert answer["usage_info"]["pages_processed"] == 2


async def test_a_file_by_id_and_by_its_url(api: httpx.AsyncClient, script: Script) -> None:
    file = (await api.post("/v1/files", files={"file": ("a.png", PNG)}, data={"purpose": "ocr"})).json()
    assert (file["object"], file["bytes"], file["filename"], file["purpose"]) == ("file", len(PNG), "a.png", "ocr")
    assert (await api.get(f"/files/{file['id']}")).json() == file
    assert (await api.get(f"/v1/files/{file['id']}/content")).content == PNG
    url = (await api.get(f"/v1/files/{file['id']}/url", params={"expiry": 1})).json()["url"]
    for chunk in ({"type": "file", "file_id": file["id"]}, {"type": "image_url", "image_url": {"url": url}}):
        answer = await read(api, script, api.post("/ocr", json={"model": "any", "document": chunk}))
        assert answer.status_code == 200, answer.text
        await api.delete(f"/api/v1/jobs/{answer.headers['x-job-id']}")
    assert (await api.delete(f"/v1/files/{file['id']}")).json() == {"id": file["id"], "object": "file", "deleted": True}
    assert (await api.get(f"/v1/files/{file['id']}")).status_code == 404


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, "bad-option"),
    (document(pages="one"), 400, "bad-page-range"),
    (document(pages=[-1]), 400, "bad-page-range"),
    (document(pages=[]), 400, "bad-page-range"),
    (document(pages=[5]), 400, "bad-page-range"),
    (document(table_format="csv"), 400, "bad-option"),
    (document(document_annotation_format={"type": "json_schema"}), 400, "bad-option"),
    (document(confidence_scores_granularity="word"), 400, "bad-option"),
    (document(b"no picture"), 400, "unsupported-media"),
    ({"document": {"type": "document_url", "document_url": "data:image/png;base64,%"}}, 400, "corrupt-file"),
    ({"document": {"type": "document_url", "document_url": "https://example.org/a.pdf"}}, 400, "bad-document-url"),
    ({"document": {"type": "document_url", "document_url": "http://[::1"}}, 400, "bad-document-url"),
    ({"document": {"type": "file", "file_id": "nothing"}}, 404, "not-found"),
]


@pytest.mark.parametrize(("body", "status", "code"), REFUSED, ids=[str(body)[:60] for body, _, _ in REFUSED])
async def test_errors_in_mistrals_shape(
    api: httpx.AsyncClient, script: Script, body: dict[str, Any], status: int, code: str
) -> None:
    await script.report()
    answer = await api.post(OCR, json=body)
    error = answer.json()
    assert (answer.status_code, error["object"], error["code"]) == (status, "error", code), error
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert error["message"]


async def test_without_an_engine_it_says_when_to_come_again(api: httpx.AsyncClient) -> None:
    for answer in (await api.post(OCR, json=document()), await api.put("/process", content=PNG)):
        assert (answer.status_code, answer.json()["code"]) == (503, "engine-not-ready")
        assert int(answer.headers["retry-after"]) > 0


async def test_whoever_hangs_up_cancels_the_job(gateway: Gateway, script: Script) -> None:
    await script.report()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as api:
        waiting = asyncio.ensure_future(api.post(OCR, json=document()))
        job_id = await newest(api)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(20):
            while (await api.get(f"/api/v1/jobs/{job_id}")).json()["status"] != "cancelled":
                await asyncio.sleep(0.05)


async def test_open_webuis_external_loader(api: httpx.AsyncClient, script: Script) -> None:
    headers = {"Content-Type": "image/png", "X-Filename": "sc%C3%A4n.png"}
    answer = await read(api, script, api.put("/process", content=PNG, headers=headers))
    (page,) = answer.json()
    assert page["page_content"].startswith("The head")
    assert page["metadata"] == {"page": 1, "source": "scän.png", "job_id": await newest(api)}


async def test_no_text_is_422_so_that_open_webui_falls_back(api: httpx.AsyncClient, script: Script) -> None:
    await script.report()
    waiting = asyncio.ensure_future(api.put("/process", content=PNG))
    claim = await script.take(await newest(api))
    await script.end(claim, 1, "", status=PageStatus.SKIPPED, reason="blank", blocks=())
    await script.claims.finish(claim)
    answer = await waiting
    assert (answer.status_code, answer.json()) == (422, {"detail": "No extractable text", "code": "no-text"})


async def test_docling_serves_conversion(api: httpx.AsyncClient, script: Script) -> None:
    form: dict[str, Any] = {"to_formats": ["md", "text"], "do_ocr": "true", "page_range": ["1", str(2**63 - 1)]}
    call = api.post("/v1/convert/file", files={"files": ("a.png", PNG)}, data=form)
    body = (await read(api, script, call)).json()
    assert body["document"]["filename"] == "a.png"
    assert body["document"]["md_content"].startswith("The head")
    assert body["document"]["text_content"] and body["document"]["html_content"] is None
    assert (body["status"], body["errors"]) == ("success", [])


@pytest.mark.parametrize("form", [{"to_formats": "doctags"}, {"page_range": "1"}, {"page_range": ["a", "b"]}])
async def test_what_docling_has_and_we_have_not(api: httpx.AsyncClient, script: Script, form: dict[str, Any]) -> None:
    await script.report()
    answer = await api.post("/v1/convert/file", files={"files": ("a.png", PNG)}, data=form)
    assert answer.status_code == 400
    assert set(answer.json()) == {"detail", "code"}


@pytest.fixture
async def two(store: Store, script: Script, inspector: Kept, valkey: Valkey) -> AsyncIterator[Any]:
    """A gateway, and the headers of two callers with keys."""
    settings = make_settings(valkey.url)
    keys = ApiKeys(store.redis, settings)
    headers = [{"Authorization": f"Bearer {(await keys.create(name))[1]}"} for name in ("alice", "bob")]
    await script.report()
    life = client_of(settings)
    life.app.state.services.inspector = inspector
    async with life as client:
        yield client, *headers


async def test_every_interface_needs_the_key(two: Any) -> None:
    api, alice, bob = two
    for method, path in (
        ("POST", OCR),
        ("POST", "/ocr"),
        ("POST", "/v1/files"),
        ("PUT", "/process"),
        ("POST", "/v1/convert/file"),
    ):
        answer = await api.request(method, path, content=b"{}")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    file = (await api.post("/v1/files", files={"file": ("a.png", PNG)}, headers=alice)).json()
    for path in ("", "/url", "/content"):
        assert (await api.get(f"/v1/files/{file['id']}{path}", headers=bob)).status_code == 404
    chunk = {"document": {"type": "file", "file_id": file["id"]}}
    assert (await api.post(OCR, json=chunk, headers=bob)).status_code == 404
    assert (await api.delete(f"/v1/files/{file['id']}", headers=bob)).status_code == 404
    assert (await api.get(f"/v1/files/{file['id']}", headers=alice)).status_code == 200
