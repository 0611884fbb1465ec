"""Two keys, every route of the OpenAPI document: nothing of the one is seen or changed by the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest

from gateway.auth.api_keys import ApiKeys
from shared.store.jobs import Store
from shared.store.webhooks import Ended, WebhookOutcome, WebhookStore
from tests.integration.conftest import Kept, Script, client_of
from tests.settings import settings_of
from tools.uploads import png, tiff
from tools.valkey import Valkey

HOOK = {"webhook_url": "https://93.184.215.14/hook"}
# Routes that name no job: what each of them tells a caller is looked at below.
OWN_THINGS = {
    ("GET", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs"),
    ("POST", "/api/v1/batches"),
    ("POST", "/api/v1/ocr"),
    ("GET", "/api/v1/webhooks/secret"),
    ("POST", "/api/v1/webhooks/secret/rotate"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/search"),
    ("GET", "/api/v1/service"),
    ("GET", "/api/v1/shared"),
}


@dataclass
class TwoOwners:
    api: httpx.AsyncClient
    alice: dict[str, str]
    bob: dict[str, str]
    done: str  # alice's, with a result, figures and a delivery
    waiting: str  # alice's, queued
    batch: str
    routes: list[tuple[str, str]]

    async def call(self, method: str, path: str, who: dict[str, str], **more: Any) -> httpx.Response:
        headers = who | {"Accept": "*/*"} | more.pop("headers", {})
        return await self.api.request(method, path, headers=headers, **more)

    def paths(self, template: str) -> list[str]:
        """The route with alice's own ids in it."""
        if "{batch_id}" in template:
            return [template.format(batch_id=self.batch)]
        names = {"n": "1", "number": "1", "page": "1", "name": "1_0.jpg", "token": "x", "block": "0"}
        return [template.format(job_id=job_id, **names) for job_id in (self.done, self.waiting)]


@pytest.fixture
async def services(store: Store, script: Script, inspector: Kept) -> AsyncIterator[TwoOwners]:
    keys = ApiKeys(store.redis, settings_of(store))
    alice, bob = [{"Authorization": f"Bearer {(await keys.create(name))[1]}"} for name in ("alice", "bob")]
    life = client_of(settings_of(store))
    life.app.state.services.inspector = inspector
    routes = [
        (method.upper(), path)
        for path, methods in life.app.openapi()["paths"].items()
        if path.startswith("/api/")
        for method in methods
    ]
    async with life as api:

        async def made(path: str, files: Any) -> dict[str, Any]:
            answer = await api.post(
                path, files=files, data=HOOK, headers=alice | {"Idempotency-Key": f"k{path}{len(files)}"}
            )
            assert answer.status_code == 202, answer.text
            return answer.json()  # type: ignore[no-any-return]

        done = (await made("/api/v1/jobs", {"file": ("a.tiff", tiff([1, 2]), "image/tiff")}))["id"]
        claim = await script.take(done)
        for number, words in enumerate(("alices words", "more of them"), 1):
            await script.claims.page_start(claim, number)
            await script.end(claim, number, words, picture=png(number), figures=[(f"{number}_0.jpg", b"jpeg")])
        await script.claims.finish(claim)
        hooks = WebhookStore(store.redis, settings_of(store))
        (lease,) = await hooks.take()
        due = await hooks.begin(lease)
        assert due is not None
        await hooks.end(due, Ended(WebhookOutcome.FAILED, 0.1, 500))
        batch = await made("/api/v1/batches", [("file", (f"{n}.png", png(n), "image/png")) for n in (3, 4)])
        yield TwoOwners(api, alice, bob, done, batch["jobs"][0]["id"], batch["id"], routes)


def state(valkey: Valkey) -> dict[bytes, bytes]:
    """Everything in the store but what a call itself counts."""
    passing = (b"rl:", b"worker", b"wake:", b"rate:")
    keys = cast("list[bytes]", valkey.client.keys("*"))
    return {key: valkey.client.dump(key) or b"" for key in keys if not key.startswith(passing)}


def test_every_route_is_either_tried_with_ids_or_looked_at_here(services: TwoOwners) -> None:
    assert {route for route in services.routes if "{" not in route[1]} == OWN_THINGS
    assert len([route for route in services.routes if "{" in route[1]]) >= 10


async def test_alice_comes_in_everywhere(services: TwoOwners) -> None:
    """The routes below answer 404 because of whose they are, and for no other reason."""
    for method, template in services.routes:
        if method == "GET" and "{" in template:
            path = services.paths(template)[0]
            assert (await services.call(method, path, services.alice)).status_code in (200, 202, 204), path


async def test_no_route_with_an_id_tells_another_key_anything_or_changes_anything(
    services: TwoOwners, valkey: Valkey
) -> None:
    before = state(valkey)
    tried = 0
    for method, template in services.routes:
        for path in services.paths(template) if "{" in template else []:
            for who, status in ((services.bob, 404), ({}, 401), ({"X-API-Key": "ocr_none"}, 401)):
                answer = await services.call(method, path, who)
                assert answer.status_code == status, (method, path, answer.text)
                assert answer.json()["code"] == ("not-found" if status == 404 else "unauthorized")
                assert "alice" not in answer.text
                tried += 1
    assert tried >= 30
    assert state(valkey) == before


async def test_what_bob_is_told_does_not_depend_on_whether_the_job_exists(services: TwoOwners) -> None:
    for method, template in services.routes:
        if "{job_id}" in template:
            theirs = await services.call(method, services.paths(template)[0], services.bob)
            nobodys = await services.call(
                method, services.paths(template)[0].replace(services.done, "01JD" + "0" * 22), services.bob
            )
            assert without_id(theirs) == without_id(nobodys), template


def without_id(answer: httpx.Response) -> Any:
    return answer.status_code, {**json.loads(answer.text), "request_id": ""}


async def test_lists_hold_the_callers_own_jobs(services: TwoOwners) -> None:
    assert (await services.call("GET", "/api/v1/jobs", services.bob)).json() == {"items": [], "next_cursor": None}
    assert len((await services.call("GET", "/api/v1/jobs", services.alice)).json()["items"]) == 3
    cursor = await services.call("GET", "/api/v1/jobs", services.bob, params={"cursor": services.done})
    assert (cursor.status_code, cursor.json()["code"]) == (400, "bad-option")
    for who in ({}, {"X-API-Key": "x"}):
        assert (await services.call("GET", "/api/v1/jobs", who)).status_code == 401


async def test_the_same_idempotency_key_makes_a_job_of_bobs_own(services: TwoOwners) -> None:
    files = {"file": ("a.tiff", tiff([1, 2]), "image/tiff")}
    key = {"Idempotency-Key": "k/api/v1/jobs1"}
    job = (await services.call("POST", "/api/v1/jobs", services.bob, files=files, data=HOOK, headers=key)).json()
    assert job["id"] != services.done
    files_again = [("file", (f"{n}.png", png(n), "image/png")) for n in (3, 4)]
    key = {"Idempotency-Key": "k/api/v1/batches2"}
    batch = (
        await services.call("POST", "/api/v1/batches", services.bob, files=files_again, data=HOOK, headers=key)
    ).json()
    assert batch["id"] != services.batch
    assert not {item["id"] for item in batch["jobs"]} & {services.waiting}


async def test_secrets_are_each_keys_own_and_rotating_one_leaves_the_other(services: TwoOwners) -> None:
    path = "/api/v1/webhooks/secret"
    alices = (await services.call("GET", path, services.alice)).json()
    bobs = (await services.call("GET", path, services.bob)).json()
    assert alices["secret"] != bobs["secret"]
    rotated = (await services.call("POST", f"{path}/rotate", services.bob)).json()
    assert rotated["previous"]["secret"] == bobs["secret"]
    assert (await services.call("GET", path, services.alice)).json() == alices
    assert (await services.call("GET", path, {})).status_code == 401


async def test_a_token_of_bobs_reads_nothing_of_alices(services: TwoOwners) -> None:
    files = {"file": ("b.png", png(9), "image/png")}
    own = (await services.call("POST", "/api/v1/jobs", services.bob, files=files)).json()["id"]
    token = (await services.call("POST", f"/api/v1/jobs/{own}/token", services.bob)).json()["token"]
    for method, template in services.routes:
        if "{job_id}" in template:
            answer = await services.call(method, services.paths(template)[0], {}, params={"token": token})
            assert answer.status_code == 401, (method, template)


async def test_deliveries_are_listed_and_sent_again_by_their_owner(services: TwoOwners, valkey: Valkey) -> None:
    path = f"/api/v1/jobs/{services.done}/deliveries"
    listed = (await services.call("GET", path, services.alice)).json()
    (delivery,), (hook,) = listed["items"], listed["webhooks"]
    assert (delivery["number"], delivery["status_code"], delivery["event"]) == (1, 500, "job.succeeded")
    assert (hook["status"], hook["tries"], hook["id"]) == ("pending", 1, delivery["webhook_id"])
    assert hook["next_at"] > hook["created_at"]
    again = await services.call("POST", f"{path}/1/redeliver", services.alice)
    assert again.status_code == 202
    assert again.json()["webhooks"][0]["next_at"] < hook["next_at"]
    assert (await services.call("POST", f"{path}/2/redeliver", services.alice)).status_code == 404
    assert (await services.call("POST", f"{path}/x/redeliver", services.alice)).status_code == 400
