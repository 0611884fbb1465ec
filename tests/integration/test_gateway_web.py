"""The routes behind the web page: whom they answer, and what they keep."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.auth.api_keys import ApiKeys, Scope
from gateway.web.page import FILES
from shared.contract.document import PageBlock, PageResult, PageStatus
from shared.contract.options import Options
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.conftest import client_of
from tests.integration.test_gateway_jobs import problem
from tests.settings import Settings
from tools.processes import Gateway
from tools.uploads import png, submit
from tools.valkey import Valkey
from worker.claims import Claims

JOBS = "/api/v1/jobs"
TEXT = "# Harbour\n\nThe lamp is lit at dusk.\n\nBooks are returned dry."


async def read(store: Store, claims: Claims, **more: Any) -> str:
    """A job of one page with three blocks, ended."""
    job_id = await submit(store, png(1), "image/png", **more)
    claim = await claims.claim(job_id, "token-1")
    assert claim is not None
    await claims.start(claim, "instant")
    await claims.page_start(claim, 1)
    blocks = tuple(
        PageBlock(type="text", bbox=(0, 10 * i, 50, 10 * i + 9), text=text) for i, text in enumerate(TEXT.split("\n\n"))
    )
    page = PageResult(number=1, status=PageStatus.OK, width=200, height=120, markdown=TEXT, blocks=blocks)
    await claims.page_end(claim, page, png(1))
    await claims.finish(claim)
    return job_id


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 60 * 1024


async def test_a_browser_gets_the_page_and_programs_a_few_words(api: httpx.AsyncClient) -> None:
    page = await api.get("/", headers={"Accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert (await api.get("/web/main.js")).headers["content-type"].startswith("text/javascript")
    assert (await api.get("/")).json()["docs"] == "/docs"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", ""])
async def test_on_loopback_no_other_host_name_is_answered(api: httpx.AsyncClient, host: str) -> None:
    problem(await api.get(JOBS, headers={"Host": host}), 421, "misdirected-request")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_loopback_names_are_answered(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get(JOBS, headers={"Host": host})).status_code == 200


async def test_hosts_that_are_listed_are_answered(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, allowed_hosts="ocr.lan", public_url="https://ocr.example")) as api:
        for host in ("ocr.lan", "ocr.example"):
            assert (await api.get(JOBS, headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://a.example"},
        {"Origin": "null"},
    ],
)
async def test_another_site_changes_nothing(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    files = {"file": ("a.png", png(1))}
    problem(await api.post(JOBS, files=files, headers=headers), 403, "cross-site")
    assert (await api.get(JOBS)).json()["items"] == []


async def test_another_site_reads_nothing(api: httpx.AsyncClient) -> None:
    answer = await api.get(JOBS, headers={"Origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_the_page_itself_may_submit(api: httpx.AsyncClient) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
    assert (await api.post(JOBS, files={"file": ("a.png", png(1))}, headers=headers)).status_code == 202


async def test_a_key_does_what_its_scopes_say(api: httpx.AsyncClient, settings: Settings, store: Store) -> None:
    keys = ApiKeys(store.redis, settings)
    _, reads = await keys.create("reads", scopes=frozenset({Scope.READ}))
    _, both = await keys.create("both")
    _, admin = await keys.create("admin", scopes=frozenset(Scope))
    _, old = await keys.create("old", expires_at=1.0)
    upload = {"file": ("a.png", png(1))}
    problem(await api.post(JOBS, files=upload, headers={"X-API-Key": reads}), 403, "forbidden")
    assert (await api.get(JOBS, headers={"X-API-Key": reads})).status_code == 200
    assert (await api.post(JOBS, files=upload, headers={"X-API-Key": both})).status_code == 202
    problem(await api.get("/api/v1/service", headers={"X-API-Key": both}), 403, "forbidden")
    assert (await api.get("/api/v1/service", headers={"X-API-Key": admin})).status_code == 200
    problem(await api.get(JOBS, headers={"X-API-Key": old}), 401, "unauthorized")


async def test_a_link_reads_its_job_and_nothing_else_until_it_is_revoked(
    api: httpx.AsyncClient, settings: Settings, store: Store, claims: Claims
) -> None:
    key, text = await ApiKeys(store.redis, settings).create("alice")
    job_id, other = await read(store, claims, owner=key.owner), await read(store, claims, owner=key.owner)
    mine = {"X-API-Key": text}
    link = (await api.post(f"{JOBS}/{job_id}/share", json={"expires_in": 600}, headers=mine)).json()
    token = link["url"].rpartition("/")[2]
    assert (await api.get("/api/v1/shared", params={"token": token})).json() == {"job": job_id}
    for path in ("", "/result", "/pages/1?html=true", "/pages/1/image"):
        at = "&" if "?" in path else "?"
        assert (await api.get(f"{JOBS}/{job_id}{path}{at}token={token}")).status_code == 200, path
    problem(await api.get(f"{JOBS}/{other}", params={"token": token}), 401, "unauthorized")
    problem(await api.get(JOBS, params={"token": token}), 401, "unauthorized")
    problem(await api.delete(f"{JOBS}/{job_id}", params={"token": token}), 401, "unauthorized")
    assert (await api.delete(f"{JOBS}/{job_id}/share", headers=mine)).status_code == 204
    problem(await api.get(f"{JOBS}/{job_id}", params={"token": token}), 401, "unauthorized")


async def test_no_token_of_a_link_is_stored(
    api: httpx.AsyncClient, store: Store, claims: Claims, valkey: Valkey
) -> None:
    job_id = await read(store, claims)
    token = (await api.post(f"{JOBS}/{job_id}/share")).json()["url"].rpartition("/")[2]
    assert not any(token.encode() in key + (valkey.client.dump(key) or b"") for key in valkey.client.scan_iter())
    assert all(valkey.client.ttl(key) > 0 for key in valkey.client.scan_iter("share*"))


async def test_a_correction_stands_in_every_format_beside_the_engines_text(
    api: httpx.AsyncClient, store: Store, claims: Claims, valkey: Valkey
) -> None:
    job_id = await read(store, claims)
    path = f"{JOBS}/{job_id}/pages/1/blocks/1"
    changed = await api.put(path, json={"text": "The lamp is lit at dawn."})
    assert (changed.json()["edited"], changed.json()["original"]) == (True, "The lamp is lit at dusk.")
    for wanted in ("md", "html", "txt"):
        text = (await api.get(f"{JOBS}/{job_id}/result", params={"format": wanted})).text
        assert "dawn" in text, wanted
        assert "dusk" not in text, wanted
        assert "corrected by hand" in text, wanted
    whole = (await api.get(f"{JOBS}/{job_id}/result", params={"format": "json"})).json()
    assert [block.get("edited", False) for block in whole["pages"][0]["blocks"]] == [False, True, False]
    assert "dusk" in (await api.get(f"{JOBS}/{job_id}/pages/1", params={"original": "true"})).text
    assert valkey.client.ttl(f"edits:{job_id}") > 0
    assert (await api.delete(path)).status_code == 204
    assert (await api.get(f"{JOBS}/{job_id}/result")).text == TEXT + "\n"
    problem(await api.put(f"{JOBS}/{job_id}/pages/1/blocks/9", json={"text": "x"}), 404, "not-found")


async def test_a_page_is_retried_with_other_options_as_a_job_of_its_own(
    api: httpx.AsyncClient, store: Store, claims: Claims
) -> None:
    job_id = await read(store, claims, options=Options(table="html", text_layer="prefer"))
    before = (await api.get(f"{JOBS}/{job_id}")).json()
    retried = await api.post(f"{JOBS}/{job_id}/pages/1/retry", json={"type": "image", "math": "brackets"})
    job = retried.json()
    assert (retried.status_code, retried.headers["location"]) == (202, job["urls"]["self"])
    assert (job["status"], job["input"]["filename"]) == ("queued", "upload, page 1.webp")
    assert job["metadata"] == {"retry_of": job_id, "page": 1}
    wanted = {"type": "image", "math": "brackets", "table": "html", "text_layer": "ignore"}
    assert {name: job["options"][name] for name in wanted} == wanted
    claim = await claims.claim(job["id"], "token-2")
    assert claim is not None
    assert await claims.upload(job["id"]) == (memoryview(await store.page_image(job_id, 1) or b""), None)
    assert (await api.get(f"{JOBS}/{job_id}")).json() == before
    found = (await api.get(JOBS, params={"metadata.retry_of": job_id})).json()["items"]
    assert [one["id"] for one in found] == [job["id"]]


async def test_a_retry_sent_twice_with_one_key_is_one_job(api: httpx.AsyncClient, store: Store, claims: Claims) -> None:
    path = f"{JOBS}/{await read(store, claims)}/pages/1/retry"
    key = {"Idempotency-Key": "once"}
    first, second = [(await api.post(path, headers=key)).json()["id"] for _ in range(2)]
    assert first == second
    problem(await api.post(path, headers=key, json={"type": "image"}), 422, "idempotency-mismatch")


async def test_what_cannot_be_retried_is_refused(api: httpx.AsyncClient, store: Store, claims: Claims) -> None:
    job_id = await read(store, claims)
    path = f"{JOBS}/{job_id}/pages"
    problem(await api.post(f"{path}/2/retry"), 404, "not-found")
    problem(await api.post(f"{JOBS}/{await read(store, claims, owner='somebody')}/pages/1/retry"), 404, "not-found")
    problem(await api.post(f"{path}/1/retry", json={"pages": "2"}), 400, "bad-option")
    problem(await api.post(f"{path}/1/retry", json={"prompt": "<image> x"}), 400, "bad-prompt")
    unread = await submit(store, png(2), "image/png")
    problem(await api.post(f"{JOBS}/{unread}/pages/1/retry"), 404, "not-found")


async def test_blocks_come_with_html_that_runs_nothing(api: httpx.AsyncClient, store: Store, claims: Claims) -> None:
    job_id = await read(store, claims)
    await api.put(f"{JOBS}/{job_id}/pages/1/blocks/0", json={"text": "<img src=x onerror=alert(1)> **bold**"})
    page = (await api.get(f"{JOBS}/{job_id}/pages/1", params={"html": "true"})).json()
    assert "onerror" not in page["blocks"][0]["html"].replace("&lt;", "<").split("<img")[-1].split(">")[0] or (
        "<img" not in page["blocks"][0]["html"]
    )
    assert "<strong>bold</strong>" in page["blocks"][0]["html"]
    assert page["blocks"][1]["html"] == "<p>The lamp is lit at dusk.</p>\n"


async def test_search_finds_words_in_the_callers_pages_only(
    api: httpx.AsyncClient, settings: Settings, store: Store, claims: Claims
) -> None:
    job_id = await read(store, claims)
    await read(store, claims, owner="somebody")
    found = (await api.get("/api/v1/search", params={"q": "LAMP is"})).json()
    assert [(hit["job"], hit["page"], hit["block"]) for hit in found["items"]] == [(job_id, 1, 1)]
    assert found["complete"]
    assert "lamp is lit" in found["items"][0]["snippet"]
    assert (await api.get("/api/v1/search", params={"q": "parrot"})).json()["items"] == []


async def test_the_list_is_filtered_and_unknown_filters_are_refused(api: httpx.AsyncClient) -> None:
    for name, number in (("Invoice 7.png", 7), ("scan.png", 8)):
        files = {"file": (name, png(number))}
        assert (await api.post(JOBS, files=files, data={"metadata": json.dumps({"order": number})})).status_code == 202

    async def names(**query: str) -> list[str]:
        return [job["input"]["filename"] for job in (await api.get(JOBS, params=query)).json()["items"]]

    assert await names(q="invoice") == ["Invoice 7.png"]
    assert await names(**{"metadata.order": "8"}) == ["scan.png"]
    assert await names(since="2100-01-01T00:00:00Z") == []
    assert len(await names(until="2100-01-01T00:00:00Z")) == 2
    problem(await api.get(JOBS, params={"qq": "x"}), 400, "bad-option")


async def test_a_pages_image_comes_in_the_width_that_is_asked_for(
    api: httpx.AsyncClient, store: Store, claims: Claims
) -> None:
    job_id = await read(store, claims)
    whole = await api.get(f"{JOBS}/{job_id}/pages/1/image")
    small = await api.get(f"{JOBS}/{job_id}/pages/1/image", params={"width": 40})
    assert small.headers["content-type"] == "image/webp"
    assert len(small.content) < len(whole.content)


def test_one_stream_has_the_events_of_every_job_and_their_deletion(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:

        def submitted(number: int) -> str:
            return str(client.post(JOBS, files={"file": (f"{number}.png", png(number))}).json()["id"])

        before = submitted(1)
        with client.stream("GET", "/api/v1/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            heard = (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
            after = submitted(2)
            assert next(heard) == {"job": after, "event": "status", "data": {"status": "queued"}}
            client.delete(f"{JOBS}/{before}")
            rest = [next(heard) for _ in range(2)]
    assert sorted((one["job"], one["event"]) for one in rest) == [(before, "deleted"), (before, "done")]
