"""Submissions without a form: JSON with the file in base64 or by its URL, and the bare file."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

import httpx
import pytest

from gateway.api.submission import IN_MEMORY
from gateway.documents import MAX_REDIRECTS
from shared.payloads.folder import FolderPayloads
from shared.payloads.names import upload_name
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.conftest import client_of
from tests.integration.test_gateway_jobs import JOBS, problem, stored
from tools.uploads import png, tiff
from tools.valkey import Valkey

PNG = png(1)
TEXT = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "text", [TEXT, f"data:image/png;base64,{TEXT}", "\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))]
)
async def test_a_file_in_json(api: httpx.AsyncClient, text: str) -> None:
    options: dict[str, Any] = {
        "clean": False, "metadata": {"order": 17}, "deadline": 60, "webhook_url": "https://93.184.215.14/x",
        "webhook_events": ["job.failed", "job.succeeded"], "prompt": None,
    }  # fmt: skip
    answer = await api.post(JOBS, json={"file": text, "filename": "a.png", **options})
    job = answer.json()
    assert answer.status_code == 202, job
    assert (job["input"]["filename"], job["input"]["bytes"]) == ("a.png", len(PNG))
    assert (job["options"]["clean"], job["metadata"]) == (False, {"order": 17})
    assert job["webhook"]["events"] == ["job.succeeded", "job.failed"]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"X-Filename": "sc%C3%A4n.png"}, "scän.png"),
        ({"Content-Disposition": "attachment; filename*=UTF-8''sc%C3%A4n.png"}, "scän.png"),
        ({}, "upload"),
    ],
)
async def test_a_bare_file(api: httpx.AsyncClient, headers: dict[str, str], name: str) -> None:
    answer = await api.post(f"{JOBS}?type=image", content=PNG, headers={"Content-Type": "image/png", **headers})
    job = answer.json()
    assert answer.status_code == 202, job
    assert (job["input"]["filename"], job["options"]["type"]) == (name, "image")


@pytest.mark.parametrize("kind", ["form", "bare"])
async def test_a_large_file_is_never_in_memory_whole(
    api: httpx.AsyncClient, store: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies on disk from its arrival to the payload store, which reads it from there."""
    large = PNG + bytes(2 * IN_MEMORY)
    put, given = FolderPayloads.put, []

    async def noting(self: FolderPayloads, name: str, data: bytes | memoryview | BinaryIO) -> None:
        given.append(data)
        await put(self, name, data)

    monkeypatch.setattr(FolderPayloads, "put", noting)
    if kind == "form":
        answer = await api.post(JOBS, files={"file": ("a.png", large)})
    else:
        answer = await api.post(JOBS, content=large, headers={"Content-Type": "image/png"})
    job = answer.json()
    assert answer.status_code == 202, job
    assert job["input"]["sha256"] == hashlib.sha256(large).hexdigest()
    assert store.payloads is not None
    assert await store.payloads.get(upload_name(job["id"])) == large
    assert [isinstance(data, bytes | memoryview) for data in given] == [False]


async def test_all_three_are_one_submission(api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "same"}
    answers = [
        await api.post(JOBS, files={"file": ("a.png", PNG)}, data={"clean": "false"}, headers=key),
        await api.post(JOBS, json={"file": TEXT, "clean": False}, headers=key),
        await api.post(f"{JOBS}?clean=false", content=PNG, headers={"Content-Type": "image/png", **key}),
    ]
    assert len({answer.json()["id"] for answer in answers}) == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "file-missing"),
    ({"file": ""}, "file-missing"),
    ({"file": "no base64!"}, "corrupt-file"),
    ({"file": 17}, "bad-option"),
    ({"file": TEXT, "colour": "red"}, "bad-option"),
    ({"file": TEXT, "clean": [1]}, "bad-option"),
    ({"file": TEXT, "type": "novel"}, "bad-option"),
    ({"file": TEXT, "document_url": "https://example.org/a.pdf"}, "bad-option"),
    ({"file": base64.b64encode(b"no picture").decode()}, "unsupported-media"),
    ({"document_url": "https://example.org/a.pdf"}, "bad-document-url"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED, ids=[str(body)[:40] for body, _ in REFUSED])
async def test_json_that_is_refused_leaves_nothing(
    api: httpx.AsyncClient, valkey: Valkey, body: dict[str, Any], code: str
) -> None:
    problem(await api.post(JOBS, json=body), 400, code)
    assert stored(valkey) == set()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 10_000, b'"a"'])
async def test_a_body_that_is_no_json_object_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    problem(await api.post(JOBS, content=body, headers={"Content-Type": "application/json"}), 400, "bad-option")


async def test_a_bare_body_is_checked_as_a_form_is(api: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    problem(await api.post(JOBS, content=b"", headers=headers), 400, "file-missing")
    problem(await api.post(f"{JOBS}?colour=red", content=PNG, headers=headers), 400, "bad-option")
    zipped = {**headers, "Content-Encoding": "gzip"}
    problem(await api.post(JOBS, content=PNG, headers=zipped), 415, "unsupported-encoding")


async def test_pages_beyond_the_end_are_left_out_with_a_note(api: httpx.AsyncClient) -> None:
    file = {"file": ("a.tiff", tiff([1, 2]))}
    job = (await api.post(JOBS, files=file, data={"pages": "2-5"})).json()
    assert job["input"]["page_range"] == "2"
    assert job["input"]["note"] == "the document has 2 pages; others that were asked for are left out"
    whole = (await api.post(JOBS, files=file, data={"pages": "1-"})).json()
    assert (whole["input"]["page_range"], whole["input"]["note"]) == ("1-2", None)


# -- documents by URL


class ProxiedSite(BaseHTTPRequestHandler):
    """``/a.png``: a picture; ``/again/N``: N redirects to it; ``/inside``: a redirect to a refused address."""

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        targets = {
            "again": f"/again/{int(number or 0) - 1}" if number != "0" else "/a.png",
            "inside": "http://10.0.0.1/",
        }
        if target := targets.get(kind):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        self.send_response(200 if kind == "a.png" else 404)
        self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ProxiedSite)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def fetching(valkey: Valkey) -> AsyncIterator[httpx.AsyncClient]:
    settings = make_settings(
        valkey.url, document_urls=True, document_url_allow_http=True, document_url_ports="",
        document_url_allow="127.0.0.1", max_file_size=len(PNG),
    )  # fmt: skip
    async with client_of(settings) as client:
        yield client


async def test_a_document_by_its_url(fetching: httpx.AsyncClient, site: str) -> None:
    job = (await fetching.post(JOBS, json={"document_url": f"{site}/a.png"})).json()
    assert (job["input"]["filename"], job["input"]["bytes"]) == ("a.png", len(PNG))
    redirected = await fetching.post(JOBS, json={"document_url": f"{site}/again/{MAX_REDIRECTS - 1}"})
    assert redirected.status_code == 202, redirected.text


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "answers 404"),
        (f"/again/{MAX_REDIRECTS}", "redirects more than"),
        ("/inside", "its address is not a public one"),
    ],
)
async def test_a_document_that_is_not_fetched(fetching: httpx.AsyncClient, site: str, path: str, why: str) -> None:
    body = problem(await fetching.post(JOBS, json={"document_url": site + path}), 400, "bad-document-url")
    assert why in body["detail"]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/latest", "http://[::1]/", "x", "http://127.1/"]
)
async def test_what_the_guard_refuses_is_not_fetched(fetching: httpx.AsyncClient, url: str) -> None:
    problem(await fetching.post(JOBS, json={"document_url": url}), 400, "bad-document-url")


async def test_what_webhooks_may_call_is_not_thereby_fetched(valkey: Valkey, site: str) -> None:
    allowed: dict[str, Any] = {"webhook_allow": "127.0.0.1", "webhook_allow_http": True, "webhook_ports": ""}
    async with client_of(make_settings(valkey.url, document_urls=True, **allowed)) as api:
        problem(await api.post(JOBS, json={"document_url": f"{site}/a.png"}), 400, "bad-document-url")
