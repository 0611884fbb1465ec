"""Submit, look, list, cancel, forget: against a real store, with a scripted worker."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from shared.store.jobs import Store
from shared.store.upload import parted
from tests.conftest import make_settings
from tests.integration.conftest import Script, client_of
from tests.integration.waiting import left_of
from tests.samples import LOCKED_PDF
from tools.uploads import png, tiff
from tools.valkey import Valkey

JOBS = "/api/v1/jobs"


async def submit(api: httpx.AsyncClient, data: bytes | None = None, **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", None)
    return await api.post(JOBS, files={"file": ("a.png", data or png(1))}, data=fields, headers=headers)


async def job_of(api: httpx.AsyncClient, **fields: Any) -> str:
    answer = await submit(api, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == f"/problems/{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def stored(valkey: Valkey) -> set[bytes]:
    return {key for key in valkey.client.scan_iter() if not key.startswith((b"wake:", b"worker"))}


async def test_submission_is_accepted_with_where_and_when_to_look(api: httpx.AsyncClient) -> None:
    answer = await submit(api, metadata='{"order": 17}')
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["urls"]["self"] == f"http://localhost{JOBS}/{job['id']}"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["cache-control"] == "no-store"
    assert (job["object"], job["status"], job["metadata"]) == ("ocr.job", "queued", {"order": 17})
    assert (job["input"]["media_type"], job["input"]["filename"]) == ("image/png", "a.png")
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None
    assert job["queue"]["position"] == 1


async def test_a_job_from_queue_to_result(api: httpx.AsyncClient, script: Script) -> None:
    answer = await submit(api, tiff([1, 2]))
    job_id = answer.json()["id"]
    claim = await script.take(job_id)
    await script.end(claim, 1, "first")
    job = (await api.get(f"{JOBS}/{job_id}")).json()
    assert (job["status"], job["engine"], job["attempt"]) == ("processing", "instant", 1)
    assert job["progress"] == {"pages_total": 2, "pages_done": 1, "pages_failed": 0}
    assert job["pages"] == [{"number": 1, "status": "ok", "reason": None, "missing": 0.0, "attempts": 1}]
    early = await api.get(f"{JOBS}/{job_id}/result")
    assert (early.status_code, early.json()["id"]) == (202, job_id)
    assert "retry-after" in early.headers
    await script.end(claim, 2, "second")
    await script.claims.finish(claim)
    done = await api.get(f"{JOBS}/{job_id}")
    assert (done.json()["status"], done.json()["queue"]) == ("succeeded", None)
    assert "retry-after" not in done.headers
    assert (await api.get(f"{JOBS}/{job_id}/result")).text == "first\n\nsecond\n"


REFUSED = [
    ({}, "file-missing"),
    ({"file": ("", b"")}, "file-missing"),
    ({"file": ("a.png", b"")}, "file-empty"),
    ({"file": ("a.png", b"no picture")}, "unsupported-media"),
    ({"file": ("a.png", png(1)[:200])}, "corrupt-file"),
    ({"file": ("a.pdf", b"%PDF-1.4\nno more")}, "corrupt-file"),
    ({"picture": ("a.png", png(1))}, "bad-option"),
]


@pytest.mark.parametrize(("files", "code"), REFUSED, ids=[f"{code}-{i}" for i, (_, code) in enumerate(REFUSED)])
async def test_a_bad_file_is_refused_and_leaves_nothing(
    api: httpx.AsyncClient, valkey: Valkey, files: dict[str, Any], code: str
) -> None:
    answer = await api.post(JOBS, files=files, data={"type": "document"})
    problem(answer, 400, code)
    assert stored(valkey) == set()
    assert (await submit(api)).status_code == 202


BAD_FIELDS = [
    ({"type": "novel"}, "bad-option"),
    ({"mode": "huge"}, "bad-option"),
    ({"priority": "now"}, "bad-option"),
    ({"text_layer": "maybe"}, "bad-option"),
    ({"table": "csv"}, "bad-option"),
    ({"math": "latex"}, "bad-option"),
    ({"languages": "russian"}, "bad-option"),
    ({"furniture": "some"}, "bad-option"),
    ({"pages": "2"}, "bad-page-range"),
    ({"pages": "one"}, "bad-page-range"),
    ({"prompt": "p" * 2001}, "prompt-too-long"),
    ({"prompt": "read <|ref|>me<|/ref|>"}, "bad-prompt"),
    ({"prompt": "<image>\nOCR"}, "bad-prompt"),
    ({"deadline": "-1"}, "bad-option"),
    ({"deadline": "nan"}, "bad-option"),
    ({"metadata": "[1]"}, "bad-option"),
    ({"metadata": '{"a": NaN}'}, "bad-option"),
    ({"metadata": '{"a": "\\ud800"}'}, "bad-option"),
    ({"webhook_url": "ftp://example.org"}, "bad-webhook-url"),
    ({"webhook_url": "http://"}, "bad-webhook-url"),
    ({"webhook_url": "http://example.org/"}, "bad-webhook-url"),
    ({"webhook_url": "https://10.0.0.1/x"}, "bad-webhook-url"),
    ({"webhook_events": "job.succeeded"}, "bad-option"),
    ({"webhook_url": "https://example.org", "webhook_events": "job.exploded"}, "bad-option"),
    ({"colour": "red"}, "bad-option"),
    ({"type": ["document", "image"]}, "bad-option"),
]


@pytest.mark.parametrize(("fields", "code"), BAD_FIELDS, ids=[str(fields)[:40] for fields, _ in BAD_FIELDS])
async def test_a_bad_field_is_refused_and_leaves_nothing(
    api: httpx.AsyncClient, valkey: Valkey, fields: dict[str, Any], code: str
) -> None:
    problem(await submit(api, **fields), 400, code)
    assert stored(valkey) == set()


async def test_every_option_comes_back(api: httpx.AsyncClient) -> None:
    hook = {"webhook_url": "https://93.184.215.14/hook?a=1", "webhook_events": "job.started, job.failed"}
    answer = await submit(
        api, tiff([1, 2, 3]), type="image", prompt="Read it.", priority="high", text_layer="prefer", pages="3,1",
        deadline="60", mode="base", table="html", math="brackets", clean="false", furniture="0", page_marks="true",
        join_pages="1", languages="ru,en", **hook,
    )  # fmt: skip
    job = answer.json()
    assert answer.status_code == 202, job
    assert job["options"] == {
        "type": "image", "mode": "base", "prompt": "Read it.", "priority": "high", "text_layer": "prefer",
        "table": "html", "math": "brackets", "clean": False, "furniture": False, "page_marks": True, "join_pages": True,
        "languages": ["ru", "en"],
    }  # fmt: skip
    assert (job["input"]["pages"], job["input"]["page_range"], job["progress"]["pages_total"]) == (3, "1,3", 2)
    assert job["deadline"] > job["created_at"]
    assert job["webhook"] == {"url": hook["webhook_url"], "events": ["job.started", "job.failed"]}


async def test_webhook_events_are_the_terminal_ones_by_default(api: httpx.AsyncClient) -> None:
    job = (await submit(api, webhook_url="https://93.184.215.14/x")).json()
    assert job["webhook"]["events"] == ["job.succeeded", "job.partial", "job.failed", "job.cancelled"]


async def test_mode_must_be_one_of_the_running_engines(api: httpx.AsyncClient, script: Script) -> None:
    assert (await submit(api, mode="base")).status_code == 202  # nobody knows yet
    await script.report(modes=("tiny", "base"))
    assert (await submit(api, mode="base")).status_code == 202
    assert "base, tiny" in problem(await submit(api, mode="gundam"), 400, "bad-option")["detail"]


async def test_a_picture_may_have_ten_mebibytes_and_no_more(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_file_size=len(png(1)), max_pdf_size=10_000)) as api:
        assert (await submit(api, png(1))).status_code == 202
        problem(await submit(api, png(1) + b"\0"), 400, "file-too-large")
        problem(await submit(api, b"\0" * 10_001), 400, "file-too-large")


async def test_same_key_and_payload_give_the_first_job_again(api: httpx.AsyncClient, valkey: Valkey) -> None:
    first = await submit(api, headers={"Idempotency-Key": '"k1"'})
    again = await submit(api, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert valkey.client.llen("ocr\x06\x163") == 1


@pytest.mark.parametrize("other", [{"data": png(2)}, {"type": "image"}, {"pages": "1"}, {"metadata": '{"a":1}'}])
async def test_same_key_with_another_payload_is_refused(api: httpx.AsyncClient, other: dict[str, Any]) -> None:
    await submit(api, headers={"Idempotency-Key": "k"})
    problem(await submit(api, **other, headers={"Idempotency-Key": "k"}), 422, "idempotency-mismatch")


async def test_a_job_is_found_by_its_key(api: httpx.AsyncClient) -> None:
    async def found(**query: str) -> list[str]:
        return [job["id"] for job in (await api.get(JOBS, params=query)).json()["items"]]

    job_id = await job_of(api, headers={"Idempotency-Key": "k"})
    assert await found(idempotency_key="k") == [job_id]
    assert await found(idempotency_key="k", status="failed") == []
    assert await found(idempotency_key="other") == []
    await api.delete(f"{JOBS}/{job_id}")
    assert await found(idempotency_key="k") == []


async def test_a_key_whose_job_was_deleted_says_so(api: httpx.AsyncClient) -> None:
    job_id = await job_of(api, headers={"Idempotency-Key": "k"})
    await api.delete(f"{JOBS}/{job_id}")
    problem(await submit(api, headers={"Idempotency-Key": "k"}), 410, "result-expired")


@pytest.mark.parametrize("key", ["", "k" * 256, '"open', "a b", "k\xe9"])
async def test_a_key_that_is_none_is_refused(api: httpx.AsyncClient, key: str) -> None:
    problem(await submit(api, headers={"Idempotency-Key": key.encode("latin-1")}), 400, "bad-option")


async def test_queue_full_is_told_before_the_body_is_read_with_when_to_retry(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_queue_jobs=1)) as api:
        key = {"Idempotency-Key": "k"}
        await submit(api, headers=key)
        before = stored(valkey)
        refused = await submit(api, b"never looked at")
        problem(refused, 429, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        new_key = {"Idempotency-Key": "new"}
        problem(await submit(api, b"never looked at", headers=new_key), 429, "queue-full")
        assert stored(valkey) == before
        assert (await submit(api, headers=key)).status_code == 202  # the same submission is no new one


async def test_submit_with_prefer_wait_gives_the_finished_job(api: httpx.AsyncClient, script: Script) -> None:
    waiting = asyncio.create_task(submit(api, headers={"Prefer": "respond-async, wait=30"}))
    job_id = await newest(api)
    await script.do(job_id)
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=30"


async def newest(api: httpx.AsyncClient) -> str:
    async with asyncio.timeout(20):
        while not (items := (await api.get(JOBS)).json()["items"]):
            await asyncio.sleep(0.01)
    return str(items[0]["id"])


async def test_submit_with_prefer_wait_that_is_too_short_gives_202(api: httpx.AsyncClient) -> None:
    answer = await submit(api, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


@pytest.mark.parametrize("asked", [{"params": {"wait": "30"}}, {"headers": {"Prefer": "wait=30"}}])
async def test_long_poll_answers_when_the_job_ends(
    api: httpx.AsyncClient, script: Script, asked: dict[str, Any]
) -> None:
    job_id = await job_of(api)
    waiting = asyncio.create_task(api.get(f"{JOBS}/{job_id}", **asked))
    await script.do(job_id)
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert ("preference-applied" in answer.headers) == ("headers" in asked)


async def test_long_poll_with_an_etag_answers_when_the_job_changes(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, data=tiff([1, 2]))
    claim = await script.take(job_id)
    seen = (await api.get(f"{JOBS}/{job_id}")).headers["etag"]
    wait, if_none_match = {"wait": "30"}, {"If-None-Match": seen}
    waiting = asyncio.create_task(api.get(f"{JOBS}/{job_id}", params=wait, headers=if_none_match))
    await script.end(claim, 1)
    answer = await waiting
    assert (answer.status_code, answer.json()["progress"]["pages_done"]) == (200, 1)


@pytest.mark.parametrize("wait", ["0", "61", "x"])
async def test_a_wait_outside_1_to_60_is_refused(api: httpx.AsyncClient, wait: str) -> None:
    problem(await api.get(f"{JOBS}/{await job_of(api)}", params={"wait": wait}), 400, "bad-option")


async def test_304_while_nothing_changed_and_never_over_progress(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, data=tiff([1, 2]))
    url = f"{JOBS}/{job_id}"

    async def changed(tag: str) -> str | None:
        answer = await api.get(url, headers={"If-None-Match": tag})
        assert answer.status_code in (200, 304)
        assert answer.headers["etag"]
        return None if answer.status_code == 304 else answer.headers["etag"]

    tag = (await api.get(url)).headers["etag"]
    assert await changed(tag) is None
    assert await changed(f'"other", {tag}') is None
    assert await changed("*") is None
    claim = await script.take(job_id)
    assert (tag := await changed(tag) or "")
    for number in (1, 2):
        await script.end(claim, number)
        assert (tag := await changed(tag) or "")
    await script.claims.finish(claim)
    assert (tag := await changed(tag) or "")
    assert await changed(tag) is None


async def test_head_answers_as_get_without_a_body(api: httpx.AsyncClient) -> None:
    job_id = await job_of(api)
    for path in (f"{JOBS}/{job_id}", JOBS, f"{JOBS}/{job_id}/result", f"{JOBS}/{job_id}/events", "/health", "/docs"):
        head = await api.head(path)
        assert (head.status_code, head.content) == ({"/health": 503}.get(path, head.status_code), b"")
        assert head.status_code in (200, 202, 503), path
    assert (await api.head(f"{JOBS}/{job_id}")).headers["etag"] == (await api.get(f"{JOBS}/{job_id}")).headers["etag"]


async def test_cancel_ends_the_job_once(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api)
    answer = await api.post(f"{JOBS}/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    problem(await api.post(f"{JOBS}/{job_id}/cancel"), 409, "already-finished")
    assert await script.claims.claim(job_id, "t") is None
    assert "cancelled" in problem(await api.get(f"{JOBS}/{job_id}/result"), 409, "job-failed")["detail"]


async def test_delete_forgets_job_upload_and_result(api: httpx.AsyncClient, script: Script, valkey: Valkey) -> None:
    job_id = await job_of(api)
    await script.do(job_id)
    assert (await api.delete(f"{JOBS}/{job_id}")).status_code == 204
    problem(await api.get(f"{JOBS}/{job_id}"), 404, "not-found")
    problem(await api.delete(f"{JOBS}/{job_id}"), 404, "not-found")
    assert left_of(valkey, job_id) == []


async def test_delete_of_a_running_job_takes_it_from_its_worker(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api)
    claim = await script.take(job_id)
    assert (await api.delete(f"{JOBS}/{job_id}")).status_code == 204
    assert await script.claims.renew([claim]) == {job_id}


@pytest.mark.parametrize("path", ["", "/result", "/pages/1", "/pages/1/image", "/events", "/images/1_0.jpg"])
async def test_an_unknown_job_is_404_everywhere(api: httpx.AsyncClient, path: str) -> None:
    for job_id in ("01JD0000000000000000000000", "x", "%00", "a%2Fb", "\N{SNOWMAN}"):
        problem(await api.get(f"{JOBS}/{job_id}{path}"), 404, "not-found")


async def test_list_is_newest_first_in_pages(api: httpx.AsyncClient) -> None:
    ids = [await job_of(api, data=png(seed)) for seed in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(JOBS, params=params)).json()
        seen += [item["id"] for item in page["items"]]
        assert "pages" not in page["items"][0]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ids[::-1]


async def test_list_by_status(api: httpx.AsyncClient) -> None:
    first, second = await job_of(api), await job_of(api, data=png(2))
    await api.post(f"{JOBS}/{first}/cancel")
    listed = (await api.get(JOBS, params={"status": "cancelled"})).json()
    assert [item["id"] for item in listed["items"]] == [first]
    listed = (await api.get(JOBS, params={"status": "queued"})).json()
    assert [item["id"] for item in listed["items"]] == [second]


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "101"}, {"status": "lost"}, {"cursor": "nowhere"}])
async def test_a_bad_list_is_refused(api: httpx.AsyncClient, params: dict[str, str]) -> None:
    problem(await api.get(JOBS, params=params), 400, "bad-option")


async def test_urls_are_those_of_public_url(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, public_url="https://ocr.example.org/base/")) as api:
        job = (await submit(api)).json()
    assert job["urls"]["events"] == f"https://ocr.example.org/base/api/v1/jobs/{job['id']}/events"


async def test_another_owners_job_is_404(api: httpx.AsyncClient, valkey: Valkey) -> None:
    job_id = await job_of(api)
    valkey.client.hset(f"job:{job_id}", "owner", "somebody")
    for method, path in [("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")]:
        problem(await api.request(method, f"{JOBS}/{job_id}{path}"), 404, "not-found")
    assert valkey.client.hget(f"job:{job_id}", "status") == b"queued"


async def test_request_id_is_taken_over_when_sane(api: httpx.AsyncClient) -> None:
    assert (await api.get("/livez", headers={"X-Request-ID": "abc-1"})).headers["x-request-id"] == "abc-1"
    made = (await api.get("/nowhere", headers={"X-Request-ID": "a b\x7f"})).json()["request_id"]
    assert len(made) == 26


async def test_wrong_paths_and_methods_are_problems(api: httpx.AsyncClient) -> None:
    problem(await api.get("/api/v1/nothing"), 404, "not-found")
    refused = await api.put(JOBS)
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert (await api.put(f"{JOBS}/x")).headers["allow"] == "DELETE, GET, HEAD"


async def test_a_bug_is_a_500_that_says_nothing(api: httpx.AsyncClient, valkey: Valkey) -> None:
    job_id = await job_of(api)
    valkey.client.hset(f"job:{job_id}", "options", "not json")
    body = problem(await api.get(f"{JOBS}/{job_id}"), 500, "internal")
    assert "json" not in json.dumps(body).lower()


async def test_a_form_that_is_none_is_a_problem(api: httpx.AsyncClient) -> None:
    problem(await api.post(JOBS, content=b"x", headers={"Content-Type": "application/json"}), 400, "bad-option")
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(await api.post(JOBS, content=b"--b\r\nno", headers=broken), 400, "file-missing")
    no_boundary = {"Content-Type": "multipart/form-data"}
    problem(await api.post(JOBS, content=b"x", headers=no_boundary), 400, "file-missing")
    many = [("field", (None, "x"))] * 100
    assert "64 fields" in problem(await api.post(JOBS, files=many), 400, "bad-option")["detail"]


async def test_a_password_opens_a_pdf_and_is_never_said_again(
    api: httpx.AsyncClient, store: Store, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for password in (None, "open says me"):
        refused = await submit(api, LOCKED_PDF, **({"password": password} if password else {}))
        assert "says" not in problem(refused, 400, "encrypted-pdf")["detail"]
    answer = await submit(api, LOCKED_PDF, password="open sesame")
    assert (answer.status_code, answer.json()["input"]["bytes"]) == (202, len(LOCKED_PDF))
    job_id = answer.json()["id"]
    content, password = parted(await store.redis.get(f"in:{job_id}"))
    assert (bytes(content), password) == (LOCKED_PDF, "open sesame")
    assert not any(b"sesame" in part for pair in valkey.client.hgetall(f"job:{job_id}").items() for part in pair)
    assert not any(word in text for word in ("sesame", "says me") for text in (answer.text, caplog.text))


async def test_pages_asked_for_are_counted_and_not_the_document(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_pages=2)) as api:
        job = (await submit(api, tiff([1, 2, 3, 4]), pages="2-3")).json()
        assert (job["input"]["pages"], job["progress"]["pages_total"]) == (4, 2)
        problem(await submit(api, tiff([1, 2, 3, 4])), 400, "too-many-pages")
        problem(await submit(api, tiff([1, 2, 3, 4]), pages="1-3"), 400, "too-many-pages")


@pytest.mark.parametrize("path", [JOBS, "/api/v1/batches", "/api/v1/ocr"])
async def test_options_in_the_query_are_refused(api: httpx.AsyncClient, script: Script, path: str) -> None:
    await script.report()
    refused = await api.post(path, params={"stream": "false"}, files={"file": ("a.png", png(1))})
    assert "stream" in problem(refused, 400, "bad-option")["detail"]


async def test_a_compressed_body_is_told_so(api: httpx.AsyncClient, valkey: Valkey) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    refused = await api.post(JOBS, content=b"\x1f\x8b", headers=headers)
    assert "Content-Encoding" in problem(refused, 415, "unsupported-encoding")["detail"]
    assert stored(valkey) == set()


async def test_no_origin_may_read_unless_it_is_listed(api: httpx.AsyncClient, valkey: Valkey) -> None:
    origin = {"Origin": "https://a.example"}
    assert "access-control-allow-origin" not in (await api.get("/livez", headers=origin)).headers
    listed = make_settings(valkey.url, environment="production", cors_origins="https://a.example")
    async with client_of(listed) as strict:
        allowed = (await strict.get("/livez", headers=origin)).headers
        assert allowed["access-control-allow-origin"] == "https://a.example"
        other = await strict.get("/nowhere", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers
